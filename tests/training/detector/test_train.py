"""`shardline train plates`: from nothing to weights that the detector takes; killed or stopped, it goes on."""

import hashlib
import json
import signal
import sys
from pathlib import Path

import pytest
from e2e.conftest import shardline
from safetensors.torch import load_file
from services.processes import running, stop, wait_until

from shardline.training.checkpoint import LAST, load_checkpoint
from shardline.training.detector.model import PlateDetector

pytestmark = pytest.mark.slow

TINY = ("--pictures", "240", "--side", "128", "--seed", "4", "--threads", "1", "--save-every", "0")


def train(folder: Path, *more: str) -> list[str]:
    return ["train", "plates", "--out", str(folder), *more]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "plates"
    done = shardline(*train(folder, *TINY))
    assert done.stdout.strip() == str(folder / "plates.safetensors")
    return folder


def test_the_weights_are_the_detector_s(trained: Path) -> None:
    weights = trained / "plates.safetensors"
    said = json.loads((trained / "plates.json").read_text())

    PlateDetector().load_state_dict(load_file(weights))
    assert weights.stat().st_size < 12e6
    assert said["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert said["recipe"]["seed"] == 4
    assert said["pictures"] == 240
    assert said["steps"] == 60
    assert {"score", "found", "false"} <= said["scores"].keys()
    assert said["command"].startswith("shardline train plates --out ")


def test_a_training_goes_on_from_weights(trained: Path, tmp_path: Path) -> None:
    """It begins where the other ended: after two steps it is still much like it."""
    begun = ("--pictures", "8", "--side", "128", "--threads", "1", "--rate", "1e-5")
    shardline(*train(tmp_path / "more", *begun, "--weights", str(trained / "plates.safetensors")))
    shardline(*train(tmp_path / "new", *begun))
    before = load_file(trained / "plates.safetensors")["layers.1.0.0.weight"].float()
    more, new = (
        load_file(tmp_path / each / "plates.safetensors")["layers.1.0.0.weight"].float() for each in ("more", "new")
    )

    assert (more - before).abs().max() < 0.05 * before.abs().max()
    assert (new - before).abs().max() > 0.5 * before.abs().max()


ONLY = ("--only", "texts", "--pictures", "64", "--side", "128", "--threads", "1", "--rate", "1e-3")


def test_texts_alone_leave_the_rest_as_it_is(trained: Path, tmp_path: Path) -> None:
    before, folder = trained / "plates.safetensors", tmp_path / "texts"
    shardline(*train(folder, *ONLY, "--weights", str(before)))
    shardline(*train(folder, "--resume"))
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
    assert load_checkpoint(folder / LAST).step < 33
    shardline(*train(folder, "--resume", "--threads", "1", "--workers", "2"))

    assert (folder / "plates.safetensors").read_bytes() == (trained / "plates.safetensors").read_bytes()


def test_told_to_stop_it_saves_and_says_how_to_go_on(tmp_path: Path) -> None:
    folder = tmp_path / "plates"
    command = [sys.executable, "-m", "shardline", *train(folder, *TINY[:-1], "60")]
    with running(command, tmp_path / "log") as process:
        wait_until((folder / LAST).exists, "the first checkpoint")
        code = stop(process)
    last = (tmp_path / "log").read_text().strip().splitlines()[-1]

    assert code == 143
    assert last == f"stopped and saved; to go on: shardline train plates --out {folder} --resume"
    assert load_checkpoint(folder / LAST).step < 33


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--resume",), "leave --resume out"),
        (("--side", "250"), "--side 250: allowed are multiples of 128"),
        (("--weights", "no.safetensors"), "no.safetensors does not exist"),
        (("--only", "texts"), "--only texts needs --weights"),
        (("--only", "texts", "--weights", "plates", "--pictures", "9"), "--pictures 9: allowed are 16 or more"),
        (("--device", "tpu"), "--device 'tpu': allowed are cpu"),
        (("--background", "nowhere"), "nowhere is not a folder of pictures"),
    ],
)
def test_a_mistake_is_one_line(options: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = shardline(*train(tmp_path / "new", *options), code=1)

    assert said in done.stderr
    assert not (tmp_path / "new").exists()


def test_another_recipe_cannot_be_resumed(trained: Path) -> None:
    done = shardline(*train(trained, "--resume", "--pictures", "900"), code=1)

    assert "you gave --pictures 900, and it began with 240: leave it out" in done.stderr
