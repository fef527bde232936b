"""Server of a single stage, started as `shardline up` does, and a bundle whose middle stage transfers 3.1 MiB.

The tensor has the size that ResNet-50 has after its first layer: float32 [1, 256, 56, 56].
"""

import http.client
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.bundles import shardline
from benchmarks.processes import ProcessTree, UnavailableError
from shardline.manifests.launches import hold, plan_launches, shard_folder
from shardline.manifests.processes import HOST, Launch
from shardline.manifests.workloads import read_chain
from shardline.partition.build import BuildOptions, build
from shardline.partition.models import Model
from shardline.partition.runtime import Golden
from shardline.storage.bundle import IMAGENET_MEAN, IMAGENET_STD, PictureSpec, stage_folder
from shardline.storage.bundle_folder import open_bundle
from shardline.wire.frame import Frame, decode, encode, is_frame
from shardline.wire.limits import Limits

START_S = 120.0
_POLL_S = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class StageServer:
    """A running stage, and a frame that it accepts: the golden one of its bundle."""

    tree: ProcessTree
    port: int
    path: str
    frame: bytes
    start_s: float  # from the start of the process until it reported that it is ready


@contextmanager
def running_stage(bundle: Path, index: int, folder: Path, *more: str) -> Iterator[StageServer]:
    """Start stage `index` of the bundle, with the further arguments `more`.

    Raises:
        UnavailableError: it does not become ready.
    """
    launch = _launch(bundle, index, folder)
    start = time.perf_counter()
    tree = ProcessTree(
        launch.name, [*launch.argv, *more], folder / f"{launch.name}.log", env=launch.env, cwd=launch.folder
    )
    try:
        while not _is_ready(launch):
            if time.perf_counter() - start > START_S or not tree.processes():
                raise UnavailableError(f"{launch.name} did not become ready: {tree.last_line()}")
            time.sleep(_POLL_S)
        start_s = time.perf_counter() - start
        inputs = Golden.load(bundle / stage_folder(index)).inputs
        frame = encode(Frame(tensors=inputs, bundle=open_bundle(bundle).digest, stage=index))
        path = (launch.ready_path or "").removesuffix("/ready") + ":predict"
        yield StageServer(tree=tree, port=launch.port, path=path, frame=frame, start_s=start_s)
    finally:
        tree.kill()


def _launch(bundle: Path, index: int, folder: Path) -> Launch:
    manifests = folder / f"manifests-{bundle.name}"
    shardline("render", str(bundle), f"--out={manifests}")
    chain = read_chain(manifests)
    shards = {
        workload.storage_uri.removeprefix("file://"): workload for workload in chain.workloads if workload.storage_uri
    }
    for source, workload in shards.items():
        if not (link := shard_folder(folder, workload)).exists():
            link.symlink_to(source)
    [wanted] = [workload for source, workload in shards.items() if source.endswith(stage_folder(index))]
    with plan_launches(chain, folder, front=hold(0), router=None) as plan:  # the stage opens its port by itself
        return next(launch for launch in plan.launches if launch.name == wanted.name)


def _is_ready(launch: Launch) -> bool:
    connection = http.client.HTTPConnection(HOST, launch.port, timeout=5)
    try:
        connection.request("GET", launch.ready_path or "/")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


class KeptConnection:
    """A persistent HTTP connection to a server on this machine."""

    def __init__(self, port: int, path: str) -> None:
        self._connection = http.client.HTTPConnection(HOST, port, timeout=60)
        self._path = path

    def post(self, body: bytes) -> bytes:
        """
        Raises:
            UnavailableError: the status of the response is not 200.
        """
        self._connection.request("POST", self._path, body, {"content-type": "application/octet-stream"})
        response = self._connection.getresponse()
        reply = response.read()
        if response.status != 200:
            raise UnavailableError(f"{self._path} returns {response.status}: {reply[:200].decode(errors='replace')}")
        return reply

    def close(self) -> None:
        self._connection.close()


def model_ms(reply: bytes, stage: int) -> float:
    """Time of the stage's model, which the frame of its reply reports.

    Raises:
        UnavailableError: the reply is not a frame.
    """
    if not is_frame(reply):
        raise UnavailableError("the reply is not a frame: name a stage that is not the last")
    return decode(reply).timings[str(stage)]


CHANNELS, SIDE = 256, 56
MIDDLE = 1  # the stage whose input and output are the wide tensor


class _Widen(torch.nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self._channels = channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # [n, 3, 56, 56] -> [n, channels, 56, 56]
        return x.mean(1, keepdim=True).repeat(1, self._channels, 1, 1)


class _AddZero(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 0.0


class _ScaledMean(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:  # -> [n, channels]
        return x.mean((2, 3)) * torch.arange(1.0, x.shape[1] + 1)


def build_wide(folder: Path, channels: int = CHANNELS) -> Path:
    """Build the bundle; each channel of the transferred tensor has 12.25 KiB."""
    model = Model(
        reference="wide",
        weights="none",
        module=torch.nn.Sequential(OrderedDict(widen=_Widen(channels), middle=_AddZero(), end=_ScaledMean())),
        picture=PictureSpec(height=SIDE, width=SIDE, resize=SIDE),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    )
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, SIDE, SIDE), dtype=np.uint8)
    build(model, "wide", pixels, BuildOptions(cuts=("widen", "middle"), limits=Limits()), folder)
    return folder
