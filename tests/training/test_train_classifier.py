"""`shardline train classifier`: from a folder to weights that `shardline build` takes; killed, it goes on."""

import hashlib
import json
import signal
import sys
from pathlib import Path

import pytest
import torch
from e2e.conftest import shardline
from services.drawn_shapes import CLASSES, draw_shapes
from services.processes import running, stop, wait_until

from shardline.models import load_by_name
from shardline.training.checkpoint import BEST, LAST, load
from shardline.wire.errors import ModelError

pytestmark = pytest.mark.slow

STEPS = 8 * 42 // 8
TINY = ("--size", "24", "--epochs", "8", "--batch", "8", "--seed", "4", "--threads", "1", "--save-every", "0")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_shapes(tmp_path_factory.mktemp("shapes") / "data")


def train(folder: Path, *more: str) -> list[str]:
    return ["train", "classifier", "--out", str(folder), *more]


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "shapes"
    done = shardline(*train(folder, "--data", str(data), *TINY))
    described = folder / "classifier.json"
    assert done.stdout.strip() == str(described)
    assert f"to serve it: shardline build {described} --stages 3 --out bundles/shapes" in done.stderr
    return folder


def test_the_weights_are_described_and_taken(trained: Path) -> None:
    weights, said = trained / "classifier.safetensors", json.loads((trained / "classifier.json").read_text())

    loaded = load_by_name(str(trained / "classifier.json"), None, None)

    assert loaded.labels == CLASSES
    assert (loaded.picture.height, loaded.picture.fit) == (24, "stretch")
    assert said["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert said["steps"] == load(trained / LAST).step == STEPS
    assert said["recipe"]["crop"] == 0.3  # a default that depends on the data
    assert said["test"]["pictures"] == 18
    assert {"score", "recall", "loss"} <= said["test"].keys()
    assert (trained / BEST).is_file()


def test_killed_and_resumed_gives_the_same_weights(trained: Path, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shapes"
    command = [sys.executable, "-m", "shardline", *train(folder, "--data", str(data), *TINY)]
    with running(command, tmp_path / "log") as process:
        wait_until(lambda: (folder / LAST).exists() and load(folder / LAST).step >= 5, "five steps")
        stop(process, signal.SIGKILL)
    assert load(folder / LAST).step < STEPS
    shardline(*train(folder, "--resume", "--threads", "1", "--workers", "2"))

    assert (folder / "classifier.safetensors").read_bytes() == (trained / "classifier.safetensors").read_bytes()


def test_what_does_not_go_on_is_one_line(trained: Path, data: Path, tmp_path: Path) -> None:
    done = shardline(*train(trained, "--resume", "--held-out", "0.3"), code=1)
    assert "you gave --held-out 0.3, and it began with 0.1: leave it out" in done.stderr
    moved = data / "train" / "disc" / "000.png"
    moved.rename(tmp_path / "000.png")
    try:
        done = shardline(*train(trained, "--resume"), code=1)
    finally:
        (tmp_path / "000.png").rename(moved)
    assert f"{data} holds other pictures than when the training began" in done.stderr


def test_it_goes_on_from_another_s_weights(trained: Path, data: Path, tmp_path: Path) -> None:
    """Two classes of three: all but the last layer is taken over, and learns slowly."""
    pair = tmp_path / "pair"
    for split in ("train", "test"):
        (pair / split).mkdir(parents=True)
        for name in CLASSES[:2]:
            (pair / split / name).symlink_to(data / split / name)
    before = trained / "classifier.safetensors"

    options = ("--size", "24", "--epochs", "1", "--batch", "8", "--threads", "1", "--workers", "0")
    done = shardline(*train(tmp_path / "out", "--data", str(pair), "--weights", str(before), *options))

    assert "anew: head.bias, head.weight" in done.stderr
    earlier, later = (
        load_by_name(str(folder / "classifier.json"), None, None).module for folder in (trained, tmp_path / "out")
    )
    same = torch.nn.functional.cosine_similarity(
        *(dict(each.named_parameters())["stem.0.weight"].detach().flatten() for each in (earlier, later)), dim=0
    )
    assert same > 0.99
    assert load_by_name(str(tmp_path / "out" / "classifier.json"), None, None).labels == CLASSES[:2]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "--data is missing: name a folder with train/CLASS/*.jpg, or digits"),
        (("--data", "{data}", "--device", "tpu"), "--device 'tpu': allowed are cpu"),
        (("--data", "{data}", "--weights", "none.safetensors"), "--weights none.safetensors does not exist"),
    ],
)
def test_a_mistake_is_one_line(options: tuple[str, ...], said: str, data: Path, tmp_path: Path) -> None:
    done = shardline(*train(tmp_path / "new", *(each.format(data=data) for each in options)), code=1)

    assert said in done.stderr
    assert not (tmp_path / "new").exists()


def test_a_classifier_without_its_weights_is_refused(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "classifier.json").write_bytes((trained / "classifier.json").read_bytes())

    with pytest.raises(ModelError, match=r"classifier\.safetensors cannot be read, and classifier\.json says"):
        load_by_name(str(tmp_path / "classifier.json"), None, None)
