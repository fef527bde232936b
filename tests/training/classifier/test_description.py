"""The description of a trained classifier is enough to build it; files that do not fit together are refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from shardline.partition.models import Model
from shardline.storage.bundle import PictureSpec
from shardline.training.classifier.description import description
from shardline.training.classifier.train import initial_model
from shardline.training.models import load_by_name
from shardline.training.weights import write_weights
from shardline.wire.errors import FileError, ModelError, UsageError

REFERENCE = "shardline.training.classifier.model:SmallResNet?num_classes=3&widths=(4,8)&blocks=(1,1)"
LABELS = ("bars", "checks", "disc")


@pytest.fixture
def trained(tmp_path: Path) -> tuple[Path, Model]:
    picture = PictureSpec(height=32, width=32, fit="crop", resize=36)
    model = replace(initial_model(REFERENCE, 1, 32), picture=picture, mean=(0.1, 0.2, 0.3))
    weights = write_weights(tmp_path, "classifier", model.module, {"steps": 5} | description(model, LABELS))
    return weights.with_suffix(".json"), model


def change(path: Path, **changes: Any) -> None:
    document = json.loads(path.read_text())
    document["classifier"] |= changes
    path.write_text(json.dumps(document))


def test_it_is_loaded_as_it_was_trained(trained: tuple[Path, Model]) -> None:
    path, model = trained

    loaded = load_by_name(str(path), None, None)

    assert (loaded.reference, loaded.labels, loaded.weights) == (REFERENCE, LABELS, "classifier.safetensors")
    assert (loaded.picture, loaded.mean, loaded.std) == (model.picture, model.mean, model.std)
    halved = model.module.half().float()
    assert all(torch.equal(loaded.module.state_dict()[name], each) for name, each in halved.state_dict().items())


def test_another_size_keeps_the_margin(trained: tuple[Path, Model]) -> None:
    loaded = load_by_name(str(trained[0]), None, 64)

    assert loaded.picture == PictureSpec(height=64, width=64, fit="crop", resize=72)


@pytest.mark.parametrize(
    "name", ["os:system?command='true'", "shardline.training.classifier.model:BasicBlock?before=1"]
)
def test_a_stranger_s_file_names_no_code(name: str, trained: tuple[Path, Model]) -> None:
    change(trained[0], model=name)

    with pytest.raises(ModelError, match=r"names the model .*: allowed are torchvision:NAME and shardline"):
        load_by_name(str(trained[0]), None, None)


def test_what_does_not_fit_is_one_clear_line(trained: tuple[Path, Model], tmp_path: Path) -> None:
    path, _ = trained
    with pytest.raises(UsageError, match="comes with its own weights; leave --weights random:0 out"):
        load_by_name(str(path), "random:0", None)
    with pytest.raises(FileError, match="does not exist: `shardline train classifier` writes"):
        load_by_name(str(tmp_path / "other.json"), None, None)
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ModelError, match="describes no classifier"):
        load_by_name(str(tmp_path / "other.json"), None, None)
    change(path, mean=[0.5])
    with pytest.raises(ModelError, match="mean and std have 1 and 3 numbers"):
        load_by_name(str(path), None, None)
    change(path, labels=5)
    with pytest.raises(ModelError, match=r"classifier\.labels is int, not list"):
        load_by_name(str(path), None, None)


def test_other_weights_are_refused(trained: tuple[Path, Model]) -> None:
    weights = trained[0].with_suffix(".safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")

    with pytest.raises(ModelError, match=r"has the sha256 .* and classifier\.json was written with"):
        load_by_name(str(trained[0]), None, None)
