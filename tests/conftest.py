"""Fixtures for tests of several folders: small bundles, and photographs."""

import fcntl
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from services.bucket import emulating

from shardline.partition.build import BuildOptions, build
from shardline.partition.models import load_model
from shardline.training.samples import calibration_pixels, sample_pictures

# Tests run two at a time, and their models are tiny: more threads would only wait for each other.
torch.set_num_threads(1)

# A shell that starts tests in the background has them ignore Ctrl-C, and so would each process that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What tests measure, on a machine that runs other tests, is not for the user's plans; it is kept for the next test.
os.environ["XDG_CACHE_HOME"] = str(Path(tempfile.gettempdir()) / f"shardline-tests-{os.getuid()}-cache")

SHARED_IMAGES = Path(__file__).resolve().parents[2] / "shared" / "images"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """A command that a test runs in this process may have torch compute with more threads; the next test has one."""
    yield
    torch.set_num_threads(1)


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


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder or file that one worker makes and all workers of a run share; it is there whole or not at all."""
    run = factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else factory.getbasetemp()
    path = run / "shared" / name
    path.parent.mkdir(exist_ok=True)
    with path.with_name(f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            make(path)
    return path


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three stages."""
    return made_once(tmp_path_factory, "small", build_small)


@pytest.fixture(scope="session")
def other_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three stages of the same model, cut elsewhere: another bundle."""
    return made_once(tmp_path_factory, "other", lambda folder: build_small(folder, cuts=("stem", "three")))


@pytest.fixture(scope="session")
def single_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One stage."""
    return made_once(tmp_path_factory, "single", lambda folder: build_small(folder, cuts=(), name="single"))


@pytest.fixture(scope="session")
def rounded_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three stages in bf16."""
    return made_once(tmp_path_factory, "rounded", lambda folder: build_small(folder, precision="bf16"))


@pytest.fixture(scope="session")
def compiled_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One stage with a package for any batch beside it."""
    options: dict[str, Any] = {"cuts": (), "name": "compiled", "targets": ("cpu",), "fixed_batches": ()}
    return made_once(tmp_path_factory, "compiled", lambda folder: build_small(folder, **options))


@pytest.fixture(scope="session")
def slow_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One stage that computes about half a second a picture."""

    def make(folder: Path) -> None:
        model = load_model("services.small_models:slow", size=128)
        build(model, "slow", np.zeros((2, 3, 128, 128), np.uint8), BuildOptions(stages=1), folder)

    return made_once(tmp_path_factory, "slow", make)
