"""Cost of the batch queue per request, and throughput gained by batches: `python -m benchmarks.batching`.

What: first the batcher without a model, in microseconds per request: the queue alone, then with the hand-over to the
worker thread, for one client and for eight. Then the middle third of a ResNet-18 in this process, with frames from
eight clients that each wait for their reply: requests per second with batches of up to 8, divided by those with batches
of 1. Both settings alternate, round by round, so that other load on the machine affects both alike; the ratio is the
median of the rounds.

Why: every request pays for the queue, and a batch that is not faster than its frames one by one is not worth the wait.

Ceiling: of the queue, the time in which asyncio and one thread pass an empty job (`hand_over_us`); of the ratio, the
gain of a call of the model at batch size 8 (`model_ratio`), without queue or decoding. It is small where one picture
keeps all cores busy; a GPU, AMX or a fully connected layer gains more.

The last line is one JSON object.
"""

import asyncio
import json
import logging
import time
from argparse import ArgumentParser
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from operator import truediv
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from shardline.partition.build import BuildOptions, build
from shardline.partition.device import use_threads
from shardline.partition.models import load_model
from shardline.partition.runtime import Golden, LoadedShard, load_shard
from shardline.predictors.batching import Batcher, QueuedRequest
from shardline.predictors.shard import ShardPredictor
from shardline.predictors.worker import Worker, call_each
from shardline.storage.bundle import stage_folder
from shardline.wire.frame import Frame, encode

CLIENTS = 8
BATCH = 8
STAGE = 1  # of three, so that frames come in and go out


def main() -> None:
    parser = ArgumentParser(description="Measure the cost and the gain of batches.")
    parser.add_argument("--requests", type=int, default=20_000, help="Requests of each measurement without a model")
    parser.add_argument("--rounds", type=int, default=7, help="Rounds with the model")
    parser.add_argument("--frames", type=int, default=64, help="Frames of one round with the model")
    arguments = parser.parse_args()
    threads = use_threads()
    figures = overhead(arguments.requests)
    with TemporaryDirectory() as folder:
        stage = third_of_resnet18(Path(folder) / "resnet18")
        figures |= asyncio.run(gain(stage, arguments.rounds, arguments.frames))
    print(json.dumps({"benchmark": "batching", "threads": threads, **figures}))


def overhead(count: int) -> dict[str, float]:
    """Microseconds per request, without a model."""
    return {
        "line_us": line_us(count),
        "hand_over_us": asyncio.run(hand_over_us(count)),
        "worker_1_client_us": asyncio.run(worker_us(count, clients=1)),
        "worker_8_clients_us": asyncio.run(worker_us(count, clients=CLIENTS)),
    }


def line_us(count: int) -> float:
    """Microseconds to enter the queue, join a batch of eight and leave it with a result."""
    batcher: Batcher[None, None] = Batcher(BATCH)
    start = time.perf_counter()
    for _ in range(count // BATCH):
        for _ in range(BATCH):
            batcher.add(QueuedRequest(item=None))
        batcher.remove_late(0)
        batch = batcher.take()
        batcher.complete(batch, [None] * len(batch))
    return _us(time.perf_counter() - start, count // BATCH * BATCH)


async def hand_over_us(count: int) -> float:
    """Microseconds in which asyncio passes an empty job to a thread and back."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as pool:
        return _us(await _ask(lambda: loop.run_in_executor(pool, time.monotonic), count, 1), count)


async def worker_us(count: int, clients: int) -> float:
    """Microseconds to pass an empty job to the worker and back."""
    worker: Worker[Callable[[], float], float] = Worker(call_each, max_queue=CLIENTS, max_batch=BATCH)
    return _us(await _ask(lambda: worker.run(time.monotonic), count, clients), count)


async def _ask(ask: Callable[[], Awaitable[object]], count: int, clients: int) -> float:
    """Seconds of `count` requests; a client sends its next request when it has its reply."""
    left = iter(range(count))

    async def client() -> None:
        for _ in left:
            await ask()

    start = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return time.perf_counter() - start


def _us(seconds: float, count: int) -> float:
    return round(seconds / count * 1e6, 2)


def third_of_resnet18(bundle: Path) -> Path:
    """Build ResNet-18 in three stages; return the folder of the middle stage."""
    model = load_model("torchvision:resnet18", weights="random:0")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 224, 224), dtype=np.uint8)
    build(model, "resnet18", pixels, BuildOptions(stages=3), bundle)
    return bundle / stage_folder(STAGE)


async def gain(stage: Path, rounds: int, frames: int) -> dict[str, float]:
    """Throughput with batches of up to eight, and with batches of one."""
    predictors = {batch: _predictor(stage, batch) for batch in (1, BATCH)}
    shard = load_shard(stage)
    frame = encode(Frame(tensors=Golden.load(stage).inputs, bundle=shard.digest, stage=STAGE))
    rates: dict[int, list[float]] = {batch: [] for batch in predictors}
    for turn in range(rounds + 1):
        for batch, predictor in predictors.items():
            seconds = await _ask(partial(predictor.answer, frame, {}), frames, CLIENTS)
            if turn:  # the first round warms up
                rates[batch].append(frames / seconds)
    return {
        "batch_1_rps": round(median(rates[1]), 1),
        "batch_8_rps": round(median(rates[BATCH]), 1),
        "batch_8_over_batch_1": round(median(map(truediv, rates[BATCH], rates[1])), 3),
        "model_ratio": round(model_ratio(shard, Golden.load(stage), rounds), 3),
    }


def _predictor(stage: Path, batch: int) -> ShardPredictor:
    predictor = ShardPredictor(f"batch-{batch}", stage, max_batch=batch, max_queue=CLIENTS)
    predictor.load()
    return predictor


def model_ratio(shard: LoadedShard, golden: Golden, rounds: int) -> float:
    """Time of eight frames one by one divided by that of one batch of eight, in the model's call; median of rounds."""
    ratios = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(BATCH):
            shard.run_joined([golden.inputs])
        between = time.perf_counter()
        shard.run_joined([golden.inputs] * BATCH)
        ratios.append((between - start) / (time.perf_counter() - between))
    return median(ratios)


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    main()
