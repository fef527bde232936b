"""What tests of several folders share: a small bundle, and the photographs that are there."""

import fcntl
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from services.bucket import emulating

from shardline.partition.build import BuildOptions, build
from shardline.partition.models import load_model
from shardline.samples import calibration_pixels, sample_pictures

# Tests run two at a time, and their models are tiny: more threads would only wait for each other.
torch.set_num_threads(1)

# A shell that starts tests in the background has them ignore Ctrl-C, and so would each process that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What tests measure, on a machine that runs other tests, is not for the user's plans; it is kept for the next test.
os.environ["XDG_CACHE_HOME"] = str(Path(tempfile.gettempdir()) / f"shardline-tests-{os.getuid()}-cache")

SHARED_IMAGES = Path(__file__).resolve().parents[2] / "shared" / "images"


@pytest.fixture(scope="session")
def photographs() -> list[bytes]:
    """Real photographs: the project's test set where it lies beside the repository, else those in scikit-image."""
    found = sorted(SHARED_IMAGES.glob("*.JPEG"))
    return [path.read_bytes() for path in found] or sample_pictures()


def build_small(folder: Path, *, cuts: tuple[str, ...] = ("one", "two"), name: str = "small", **options: Any) -> Path:
    """A bundle of `services.small_models:residual` at 32 × 32 pixels."""
    model = load_model("services.small_models:residual", size=32)
    pictures = calibration_pixels(sample_pictures()[:2], model.picture)
    build(model, name, np.ascontiguousarray(pictures), BuildOptions(cuts=cuts, stages=1, **options), folder)
    return folder


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a bucket emulator's process, with the bucket `models`."""
    with emulating(tmp_path_factory.mktemp("emulator"), "models") as url:
        yield url


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three stages."""
    return build_small(tmp_path_factory.mktemp("bundles") / "small")


@pytest.fixture(scope="session")
def other_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three stages of the same model, cut elsewhere: another bundle."""
    return build_small(tmp_path_factory.mktemp("bundles") / "other", cuts=("stem", "three"))


@pytest.fixture(scope="session")
def single_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One stage."""
    return build_small(tmp_path_factory.mktemp("bundles") / "single", cuts=(), name="single")


@pytest.fixture(scope="session")
def rounded_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three stages in bf16."""
    return build_small(tmp_path_factory.mktemp("bundles") / "rounded", precision="bf16")


@pytest.fixture(scope="session")
def compiled_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One stage with a package for any batch beside it. It takes the compiler a while, so workers share one."""
    run = tmp_path_factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else None
    folder = (run or tmp_path_factory.mktemp("bundles")) / "compiled"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            build_small(folder, cuts=(), name="compiled", targets=("cpu",), fixed_batches=())
    return folder


@pytest.fixture(scope="session")
def slow_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One stage that computes about half a second a picture."""
    folder = tmp_path_factory.mktemp("bundles") / "slow"
    model = load_model("services.small_models:slow", size=128)
    build(model, "slow", np.zeros((2, 3, 128, 128), np.uint8), BuildOptions(stages=1), folder)
    return folder
