"""Throughput of a chain on one GPU, compared with the compiled whole in process: `python -m benchmarks.gpu`.

What: ResNet-50 in fp16 on the first GPU. Images per second of the compiled whole in process at batch sizes 1 to 64; of
1, 2 and 3 stages that share the GPU, served by `shardline up`, with as many clients as fill a batch; and `wire_ms`, the
time of a picture in the served chain less that in the whole.

Why: a GPU computes a ResNet-50 in a millisecond, so that everything around the model decides.

Ceiling: the whole in process, which decodes and sends nothing.

Without a GPU it prints that nothing is measured. The last line is one JSON object.
"""

import json
import sys
from argparse import ArgumentParser
from pathlib import Path

import torch

from benchmarks.bundles import BundleSpec, ensure
from benchmarks.load import Load, LoadProcess
from benchmarks.pictures import CheckedPictures, write_jpegs
from benchmarks.processes import run_benchmark
from benchmarks.report import say
from benchmarks.systems.inprocess import InProcess
from benchmarks.systems.shardline import ShardlineChain

BATCHES = (1, 2, 4, 8, 16, 32, 64)
STAGES = (1, 2, 3)


def main() -> int:
    parser = ArgumentParser(description="Measure the throughput of a chain on one GPU.")
    parser.add_argument("--seconds", type=float, default=4.0, help="Seconds of each measurement")
    seconds = parser.parse_args().seconds
    if not torch.cuda.is_available():
        print("no GPU here: nothing is measured")
        print(json.dumps({"benchmark": "gpu", "gpu": None}))
        return 0
    return run_benchmark(lambda folder: run(folder, seconds))


def run(folder: Path, seconds: float) -> dict[str, object]:
    (pictures_folder := folder / "pictures").mkdir()
    files = write_jpegs(pictures_folder)
    client = LoadProcess(folder / "load.log")
    bundles = {count: ensure(spec(count), say) for count in STAGES}
    whole = InProcess(key="whole", bundle=bundles[1], program="compiled", files=files, device="cuda")
    whole.start(folder)
    pictures = whole.choose_pictures(folder)
    loads = [Load(clients=batch, seconds=seconds) for batch in BATCHES]
    in_process = {sample.load: sample.rps for sample in whole.measure(loads, 0, warm_s=0.0)}
    whole.stop()
    served = {f"k{count}": measure(folder, count, bundles[count], pictures, client, seconds) for count in STAGES}
    names = {load.name: load.clients for load in loads}
    return {
        "benchmark": "gpu",
        "gpu": torch.cuda.get_device_name(0),
        "in_process_images_s": {names[name]: round(rps, 1) for name, rps in in_process.items()},
        "served_images_s": {
            key: {names[name]: round(rps, 1) for name, rps in rates.items()} for key, rates in served.items()
        },
        "wire_ms": {
            key: {names[name]: round(1000 / rps - 1000 / in_process[name], 3) for name, rps in rates.items()}
            for key, rates in served.items()
        },
    }


def spec(stages: int) -> BundleSpec:
    return BundleSpec(stages=stages, precision="fp16", compiled=True, target="cuda", batch=BATCHES[-1])


def measure(
    folder: Path, stages: int, bundle: Path, pictures: CheckedPictures, client: LoadProcess, seconds: float
) -> dict[str, float]:
    """Images per second by load; batches grow with the number of waiting clients."""
    say(f"K={stages}")
    chain = ShardlineChain(
        key=f"k{stages}",
        pictures=pictures,
        client=client,
        bundle=bundle,
        stage_arguments=("--device=cuda",),
        max_queue=2 * BATCHES[-1],
    )
    try:
        chain.start(folder)
        loads = [Load(clients=batch, seconds=seconds) for batch in BATCHES]
        return {sample.load: sample.rps for sample in chain.measure(loads, 0, warm_s=2.0)}
    finally:
        chain.stop()


if __name__ == "__main__":
    sys.exit(main())
