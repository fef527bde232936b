"""`shardline train plates`: from nothing to weights that the detector takes; killed or stopped, it goes on."""

import hashlib
import json
import signal
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file
from services.cli import run_command
from services.processes import running, stop, wait_until

from shardline.training.checkpoint import LAST, load_checkpoint
from shardline.training.detector.model import PlateDetector

pytestmark = pytest.mark.slow

TINY = ("--pictures", "120", "--side", "128", "--seed", "4", "--threads", "1", "--save-every", "0")


def train(folder: Path, *more: str) -> list[str]:
    return ["train", "plates", "--out", str(folder), *more]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "plates"
    done = run_command(*train(folder, *TINY))
    assert done.stdout.strip() == str(folder / "plates.safetensors")
    return folder


def test_the_weights_are_the_detector_s(trained: Path) -> None:
    weights = trained / "plates.safetensors"
    said = json.loads((trained / "plates.json").read_text())

    PlateDetector().load_state_dict(load_file(weights))
    assert weights.stat().st_size < 12e6
    assert said["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert said["recipe"]["seed"] == 4
    assert said["pictures"] == 120
    assert said["steps"] == 30
    assert {"score", "found", "false"} <= said["scores"].keys()
    assert said["command"].startswith("shardline train plates --out ")


def test_a_training_goes_on_from_weights(trained: Path, tmp_path: Path) -> None:
    """It begins where the other ended: after two steps it is still much like it."""
    begun = ("--pictures", "8", "--side", "128", "--threads", "1", "--rate", "1e-5")
    run_command(*train(tmp_path / "more", *begun, "--weights", str(trained / "plates.safetensors")))
    run_command(*train(tmp_path / "new", *begun))
    before = load_file(trained / "plates.safetensors")["layers.1.0.0.weight"].float()
    more, new = (
        load_file(tmp_path / value / "plates.safetensors")["layers.1.0.0.weight"].float() for value in ("more", "new")
    )

    assert (more - before).abs().max() < 0.05 * before.abs().max()
    assert (new - before).abs().max() > 0.5 * before.abs().max()


ONLY = ("--only", "texts", "--pictures", "64", "--side", "128", "--threads", "1", "--rate", "1e-3")


def test_texts_alone_leave_the_rest_as_it_is(trained: Path, tmp_path: Path) -> None:
    before, folder = trained / "plates.safetensors", tmp_path / "texts"
    run_command(*train(folder, *ONLY, "--weights", str(before)))
    run_command(*train(folder, "--resume"))
    old, new = load_file(before), load_file(folder / "plates.safetensors")
    changed = {name for name in old if not old[name].equal(new[name])}

    assert old.keys() == new.keys()
    assert "text_reader.join.0.weight" in changed
    assert all(name.startswith("text_reader.") for name in changed)
    assert json.loads((folder / "plates.json").read_text())["steps"] == 4


def test_killed_and_resumed_gives_the_same_weights(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "plates"
    command = [sys.executable, "-m", "shardline", *train(folder, *TINY)]
    with running(command, tmp_path / "log") as process:
        wait_until(lambda: (folder / LAST).exists() and load_checkpoint(folder / LAST).step >= 5, "five steps")
        stop(process, signal.SIGKILL)
    assert load_checkpoint(folder / LAST).step < 20
    run_command(*train(folder, "--resume", "--threads", "1", "--workers", "2"))

    assert (folder / "plates.safetensors").read_bytes() == (trained / "plates.safetensors").read_bytes()
