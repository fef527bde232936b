"""Errors of rounded and compiled shards beside those of wrong ones: `python -m benchmarks.rounding [MODEL …]`.

What: each model is built in bf16, whole and in three stages, and compiled for this CPU. Of every stage: the largest
difference and the norm of the difference between the compiled shard's outputs and the portable one's, relative to the
largest value and the norm of the latter, over sample pictures; and the same norm for a shard that has lost one weight
tensor, the least and the median. Of a last stage the values are compared that the task compares.

Why: a stage that starts compares its golden outputs with a bound (partition/runtime.py). The bound lies between
rounding and most faults (docs/adr/0054-rounded-tensors-are-compared-by-their-norm.md).

Ceiling: without a fault, and in fp32, both are next to 0. A row is one JSON object, and so is the last line.
"""

import json
import logging
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.report import say
from shardline.partition.archive import load_program
from shardline.partition.build import BuildOptions, build
from shardline.partition.compare import largest_value, max_abs_difference, norm_error
from shardline.partition.device import CPU
from shardline.partition.prepare import prepare
from shardline.partition.program import runnable
from shardline.partition.runtime import LoadedShard, chain_inputs, load_shard
from shardline.storage.bundle import SHARD_FILE, stage_folder
from shardline.storage.bundle_folder import open_bundle, read_stage
from shardline.tasks.registry import task_code
from shardline.training.models import load_by_name
from shardline.training.samples import calibration_pixels, task_samples

MODELS = (
    "efficientnet-lite0",
    "efficientnet-lite2",
    "plates",
    "torchvision:resnet50",
    "torchvision:mobilenet_v3_large",
    "torchvision:regnet_y_400mf",
    "timm:vit_tiny_patch16_224",
    "timm:convnext_atto",
)
PICTURES = 8
FAULTS = 8  # weight tensors of each stage, evenly spaced, each lost once


def main() -> None:
    logging.getLogger("shardline").setLevel(logging.ERROR)
    rows = []
    for reference in sys.argv[1:] or MODELS:
        for stages in (1, 3):
            for row in measure(reference, stages):
                print(json.dumps(row), flush=True)
                rows.append(row)
    rounding = max(float(str(row["norm"])) for row in rows)
    fault = min(float(str(row["median_fault"])) for row in rows)
    print(json.dumps({"benchmark": "rounding", "stages": len(rows), "largest_norm": rounding, "median_fault": fault}))


def measure(reference: str, stages: int) -> Iterator[Mapping[str, object]]:
    """Build one model, and yield a row of figures for each of its stages."""
    weights = "random:0" if ":" in reference else None
    say(f"{reference} in {stages}: building in bf16 and compiling")
    model = load_by_name(reference, weights, None)
    pixels = calibration_pixels(list(task_samples(model.task).values()), model.picture)
    options = BuildOptions(stages=stages, precision="bf16", targets=("cpu",))
    with tempfile.TemporaryDirectory(prefix="shardline-rounding-") as folder:
        out = Path(folder) / "bundle"
        build(prepare(model, pixels), "rounding", pixels, options, out)
        pictures = [pixels[index : index + 1] for index in range(min(PICTURES, len(pixels)))]
        for index in range(stages):
            yield {"model": reference, "stages": stages, "stage": index, **_figures(out, index, pictures)}


def _figures(bundle: Path, index: int, pictures: Sequence[np.ndarray]) -> Mapping[str, float]:
    earlier = [load_shard(bundle / stage_folder(stage), program="portable") for stage in range(index)]
    folder = bundle / stage_folder(index)
    portable, compiled = (load_shard(folder, program=program) for program in ("portable", "compiled"))
    inputs = [_inputs([*earlier, portable], pixels) for pixels in pictures]
    expected = [_compared(portable, tensors) for tensors in inputs]
    found = [_compared(compiled, tensors) for tensors in inputs]
    faults = [
        max(norm_error(outputs[name], value) for name, value in expected[0].items())
        for outputs in (_compared(faulty, inputs[0]) for faulty in _faulty(bundle, index))
    ]
    pairs = [(wrong[name], right[name]) for wrong, right in zip(found, expected, strict=True) for name in right]
    return {
        "largest": round(max(max_abs_difference(wrong, right) / largest_value(right) for wrong, right in pairs), 4),
        "norm": round(max(norm_error(wrong, right) for wrong, right in pairs), 4),
        "least_fault": round(min(faults), 4),
        "median_fault": round(float(np.median(faults)), 4),
    }


def _compared(shard: LoadedShard, tensors: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """Outputs, [1, …] each, as a starting stage compares them."""
    task, outputs = shard.bundle.task, shard.run(tensors)
    return task_code(task.name).comparable(outputs, task.options) if shard.is_last else outputs


def _inputs(shards: Sequence[LoadedShard], pixels: np.ndarray) -> Mapping[str, np.ndarray]:
    """Inputs of the last of these shards for uint8 [1, channels, h, w]."""
    tensors = chain_inputs(shards[0], pixels)
    for shard in shards[:-1]:
        tensors = shard.run(tensors)
    return tensors


def _faulty(bundle: Path, index: int) -> Iterator[LoadedShard]:
    """Yield the stage's portable shard several times, each time with another weight tensor set to zero."""
    folder = bundle / stage_folder(index)
    description, stage = read_stage(folder, open_bundle(bundle).digest)
    program = load_program(folder / SHARD_FILE)
    names = [name for name, value in program.state_dict.items() if value.dim() > 1]
    for name in names[:: -(-len(names) // FAULTS)]:
        module = runnable(load_program(folder / SHARD_FILE))
        with torch.no_grad():
            module.state_dict()[name].zero_()
        yield LoadedShard(description, stage, module, CPU)


if __name__ == "__main__":
    main()
