"""Process that runs the whole model without a server; inprocess.py starts it and sends commands over a pipe.

    python -m benchmarks.systems.floor BUNDLE eager|compiled DEVICE PICTURE…

For each line `BATCH SECONDS` on stdin it prints a line of JSON: the milliseconds of each batch, and the CPU seconds of
all. `eager` is the exported program, `compiled` the AOTInductor package in a bundle with one stage. A line `classes
OUT` writes the probabilities of the pictures, float32 [pictures, classes], to the file OUT.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.utils._pytree import tree_leaves

from benchmarks.pictures import pixels_of
from shardline.partition.archive import load_program
from shardline.partition.device import choose_device, move, use_threads
from shardline.partition.program import runnable
from shardline.partition.runtime import load_shard
from shardline.storage.bundle import WHOLE_FILE, stage_folder
from shardline.storage.bundle_folder import open_bundle

Run = Callable[[np.ndarray], np.ndarray]  # uint8 [n, 3, height, width] -> logits [n, classes]


def eager(folder: Path, device: str) -> Run:
    place = choose_device(device)
    whole = runnable(move(load_program(folder / WHOLE_FILE), place))

    def run(pixels: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            [logits] = tree_leaves(whole(torch.from_numpy(pixels).to(place)))
        values: np.ndarray = logits.float().cpu().numpy()
        return values

    return run


def compiled(folder: Path, device: str) -> Run:
    shard = load_shard(folder / stage_folder(0), device=choose_device(device), program="compiled")
    [name] = [spec.name for spec in shard.stage.inputs]

    def run(pixels: np.ndarray) -> np.ndarray:
        [outputs] = shard.run_joined([{name: pixels}])
        [logits] = outputs.values()
        return logits

    return run


def measure(run: Run, pixels: np.ndarray, batch: int, seconds: float) -> dict[str, object]:
    """Time batches that repeat the pictures, uint8 [n, 3, height, width], for this number of seconds."""
    given = np.ascontiguousarray(pixels[np.arange(batch) % len(pixels)])
    run(given)  # warm-up
    times_ms: list[float] = []
    cpu_s, end = time.process_time(), time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        run(given)
        times_ms.append((time.perf_counter() - start) * 1000)
    return {"times_ms": times_ms, "cpu_s": time.process_time() - cpu_s}


def write_probabilities(run: Run, pixels: np.ndarray, out: Path) -> None:
    """Save float32 [n, classes] for `pixels` uint8 [n, 3, height, width], one picture at a time."""
    logits = np.concatenate([run(pixels[index : index + 1]) for index in range(len(pixels))])
    np.save(out, torch.softmax(torch.from_numpy(logits), 1).numpy())


def main() -> None:
    folder, program, device, *files = sys.argv[1:]
    use_threads()
    pixels = pixels_of([Path(file) for file in files], open_bundle(Path(folder)).picture)
    run = {"eager": eager, "compiled": compiled}[program](Path(folder), device)
    for line in sys.stdin:
        first, second = line.split()
        if first == "classes":
            write_probabilities(run, pixels, Path(second))
            print("written", flush=True)
        else:
            print(json.dumps(measure(run, pixels, int(first), float(second))), flush=True)


if __name__ == "__main__":
    main()
