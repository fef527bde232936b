"""`shardline train classifier`: weights to begin with, and from a folder to weights that `shardline build` takes."""

import hashlib
import json
import signal
import sys
from pathlib import Path

import pytest
import torch
import torchvision
from e2e.conftest import shardline
from safetensors.torch import save_file
from services.cli import run_command
from services.drawn_shapes import CLASSES, draw_shapes
from services.processes import running, stop, wait_until

from shardline.training.checkpoint import BEST, LAST, load_checkpoint
from shardline.training.classifier.model import SmallResNet
from shardline.training.classifier.train import initial_model, load_matching_weights, read_weights
from shardline.training.models import load_by_name
from shardline.wire.errors import FileError, ModelError

OWN = "shardline.training.classifier.model:SmallResNet?num_classes=5&widths=(4,8)&blocks=(1,1)"

STEPS = 8 * 42 // 8
TINY = ("--size", "24", "--epochs", "8", "--batch", "8", "--seed", "4", "--threads", "1", "--save-every", "0")


def small(classes: int) -> SmallResNet:
    return SmallResNet(num_classes=classes, widths=(4, 8), blocks=(1, 1))


def test_first_weights_follow_from_the_seed() -> None:
    one, same, other = (initial_model(OWN, seed, 32).module.state_dict() for seed in (1, 1, 2))

    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["head.weight"], other["head.weight"])


def test_all_but_the_last_layer_is_taken_over(tmp_path: Path) -> None:
    before, module = small(9), small(5)
    own = module.head.weight.clone()
    save_file(before.state_dict(), tmp_path / "before.safetensors")

    fresh = load_matching_weights(module, read_weights(OWN, str(tmp_path / "before.safetensors")), "before.safetensors")

    assert fresh == ["head.bias", "head.weight"]
    assert torch.equal(module.state_dict()["stem.0.weight"], before.state_dict()["stem.0.weight"])
    assert torch.equal(module.head.weight, own)


def test_torchvision_s_weights_come_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lay them where a download would: torchvision looks there before it asks the network."""
    shipped = torchvision.models.get_model("squeezenet1_1")
    url = torchvision.models.get_model_weights("squeezenet1_1").DEFAULT.url
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(shipped.state_dict(), tmp_path / "hub" / "checkpoints" / url.rpartition("/")[2])
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    model = initial_model("torchvision:squeezenet1_1?num_classes=3", 0, 64)

    fresh = load_matching_weights(model.module, read_weights("torchvision:squeezenet1_1", "DEFAULT"), "DEFAULT")

    assert fresh == ["classifier.1.bias", "classifier.1.weight"]
    found = model.module.state_dict()
    assert all(torch.equal(found[name], each) for name, each in shipped.state_dict().items() if name not in fresh)


def test_weights_of_another_model_are_refused() -> None:
    state = torchvision.models.get_model("squeezenet1_1").state_dict()

    with pytest.raises(ModelError, match=r"--weights x\.pt is of another model: it lacks .*0 of \d+ tensors"):
        load_matching_weights(small(5), state, "x.pt")


def test_a_size_that_the_model_does_not_take_is_said() -> None:
    with pytest.raises(ModelError, match=r"does not take pictures of 64 pixels a side: .*image_size=96"):
        initial_model("torchvision:vit_b_32?num_classes=3", 0, 64)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_shapes(tmp_path_factory.mktemp("shapes") / "data")


def train(folder: Path, *more: str) -> list[str]:
    return ["train", "classifier", "--out", str(folder), *more]


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "shapes"
    done = run_command(*train(folder, "--data", str(data), *TINY))
    described = folder / "classifier.json"
    assert done.stdout.strip() == str(described)
    assert f"to serve it: shardline build {described} --stages 3 --out bundles/shapes" in done.stderr
    return folder


@pytest.mark.slow
def test_the_weights_are_described_and_taken(trained: Path) -> None:
    weights, said = trained / "classifier.safetensors", json.loads((trained / "classifier.json").read_text())

    loaded = load_by_name(str(trained / "classifier.json"), None, None)

    assert loaded.labels == CLASSES
    assert (loaded.picture.height, loaded.picture.fit) == (24, "stretch")
    assert said["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert said["steps"] == load_checkpoint(trained / LAST).step == STEPS
    assert said["recipe"]["crop"] == 0.3  # a default that depends on the data
    assert said["test"]["pictures"] == 18
    assert {"score", "recall", "loss"} <= said["test"].keys()
    assert (trained / BEST).is_file()


@pytest.mark.slow
def test_killed_and_resumed_gives_the_same_weights(trained: Path, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shapes"
    command = [sys.executable, "-m", "shardline", *train(folder, "--data", str(data), *TINY)]
    with running(command, tmp_path / "log") as process:
        wait_until(lambda: (folder / LAST).exists() and load_checkpoint(folder / LAST).step >= 5, "five steps")
        stop(process, signal.SIGKILL)
    assert load_checkpoint(folder / LAST).step < STEPS
    run_command(*train(folder, "--resume", "--threads", "1", "--workers", "2"))

    assert (folder / "classifier.safetensors").read_bytes() == (trained / "classifier.safetensors").read_bytes()


@pytest.mark.slow
def test_what_does_not_go_on_is_one_line(trained: Path, data: Path, tmp_path: Path) -> None:
    done = run_command(*train(trained, "--resume", "--held-out", "0.3"), code=1)
    assert "you gave --held-out 0.3, and it began with 0.1: leave it out" in done.stderr
    moved = data / "train" / "disc" / "000.png"
    moved.rename(tmp_path / "000.png")
    try:  # in a process of its own: this one has listed the folder
        done = shardline(*train(trained, "--resume"), code=1)
    finally:
        (tmp_path / "000.png").rename(moved)
    assert f"{data} holds other pictures than when the training began" in done.stderr


@pytest.mark.slow
def test_it_goes_on_from_another_s_weights(trained: Path, data: Path, tmp_path: Path) -> None:
    """Two classes of three: all but the last layer is taken over, and learns slowly."""
    pair = tmp_path / "pair"
    for split in ("train", "test"):
        (pair / split).mkdir(parents=True)
        for name in CLASSES[:2]:
            (pair / split / name).symlink_to(data / split / name)
    before = trained / "classifier.safetensors"

    options = ("--size", "24", "--epochs", "1", "--batch", "8", "--threads", "1", "--workers", "0")
    done = run_command(*train(tmp_path / "out", "--data", str(pair), "--weights", str(before), *options))

    assert "random are head.bias, head.weight" in done.stderr
    earlier, later = (
        load_by_name(str(folder / "classifier.json"), None, None).module for folder in (trained, tmp_path / "out")
    )
    first, last = (dict(model.named_parameters())["stem.0.weight"].detach().flatten() for model in (earlier, later))
    assert torch.nn.functional.cosine_similarity(first, last, dim=0) > 0.99
    assert load_by_name(str(tmp_path / "out" / "classifier.json"), None, None).labels == CLASSES[:2]


@pytest.mark.slow
def test_a_classifier_without_its_weights_is_refused(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "classifier.json").write_bytes((trained / "classifier.json").read_bytes())

    with pytest.raises(FileError, match=r"classifier\.safetensors cannot be read, and classifier\.json says"):
        load_by_name(str(tmp_path / "classifier.json"), None, None)
