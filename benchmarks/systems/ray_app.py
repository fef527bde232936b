"""Ray Serve application of a model's three shards, one deployment each; rayserve.py starts it in `.venv-peers`.

The first deployment decodes the picture and runs its shard; each handle's reply is passed to the next deployment, as in
Ray's documentation. There are two applications of the same shards: with Ray's own number of threads in a replica, and
with as many threads as there are cores.

    python -m benchmarks.systems.ray_app BUNDLE --port 8000 --temp FOLDER
"""

import argparse
import os
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray import serve
from starlette.requests import Request

from shardline.predictors.picture import to_pixels
from shardline.storage.bundle import stage_folder
from shardline.storage.bundle_folder import open_bundle
from shardline.wire.limits import Limits

ROOT = Path(__file__).resolve().parents[2]
APPLICATIONS = ("defaults", "threads")
_CLIENTS = 64  # more than in any load here; Ray's default of five requests in a replica would limit it


class RayStage:
    def __init__(self, folder: Path) -> None:
        from shardline.partition.runtime import load_shard  # only the replicas load torch

        self._shard = load_shard(folder)

    async def __call__(self, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self._shard.run(tensors)


class RayEntryStage:
    """The first stage, which takes the HTTP request."""

    def __init__(self, folder: Path, *others: Any) -> None:
        from shardline.partition.runtime import load_shard

        self._shard = load_shard(folder)
        self._others = others

    async def __call__(self, request: Request) -> dict[str, int]:
        pixels = to_pixels(await request.body(), self._shard.bundle.picture, Limits())
        value: Any = self._shard.run({self._shard.stage.inputs[0].name: pixels[None]})
        for other in self._others:
            value = other.remote(value)
        outputs = await value if self._others else value
        [logits] = outputs.values()
        return {"index": int(logits[0].argmax())}


def application(bundle: Path, cores: int, *, threads: bool) -> Any:
    count = len(open_bundle(bundle).stages)
    # Less than one CPU each, so that all replicas fit on the cores; Ray then gives a replica one thread.
    env = {"OMP_NUM_THREADS": str(cores)} if threads else {}
    options = {"num_cpus": cores / (2 * count * len(APPLICATIONS)), "runtime_env": {"env_vars": env}}
    folders = [bundle / stage_folder(index) for index in range(count)]
    made = [
        serve.deployment(
            RayStage, name=f"stage-{index}", ray_actor_options=options, max_ongoing_requests=_CLIENTS
        ).bind(folder)
        for index, folder in enumerate(folders)
        if index
    ]
    first = serve.deployment(RayEntryStage, name="stage-0", ray_actor_options=options, max_ongoing_requests=_CLIENTS)
    return first.bind(folders[0], *made)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--temp", required=True, help="Folder with a short path, for sockets")
    arguments = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    cores = os.cpu_count() or 1
    env = {"env_vars": {"PYTHONPATH": str(ROOT)}}
    ray.init(
        num_cpus=cores, include_dashboard=False, _temp_dir=arguments.temp, runtime_env=env, logging_level="warning"
    )
    serve.start(http_options={"host": "127.0.0.1", "port": arguments.port})
    for name in APPLICATIONS:
        app = application(arguments.bundle.resolve(), cores, threads=name == "threads")
        serve.run(app, name=name, route_prefix=f"/{name}")
    print("ready", flush=True)
    stop.wait()
    ray.shutdown()


if __name__ == "__main__":
    main()
