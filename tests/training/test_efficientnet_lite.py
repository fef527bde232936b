"""The trained classifiers that everyone can install: preprocessing, labels, pinned weights, and right answers."""

from pathlib import Path

import pytest
import torch

from shardline.partition.capture import run_whole, whole_module
from shardline.predictors.picture import to_pixels
from shardline.storage.bundle import PictureSpec
from shardline.training.efficientnet_lite import check_digest
from shardline.training.models import load_by_name
from shardline.training.samples import sample_files
from shardline.wire.errors import FileError, ModelError
from shardline.wire.limits import Limits


@pytest.mark.parametrize(("name", "side"), [("efficientnet-lite0", 224), ("efficientnet-lite2", 260)])
def test_preprocessing_and_labels_are_built_in(name: str, side: int) -> None:
    model = load_by_name(name, None, None)

    assert model.picture == PictureSpec(height=side, width=side, resize=side + 32, interpolation="bicubic")
    assert model.mean == pytest.approx((0.498, 0.498, 0.498), abs=1e-3)
    assert model.std == pytest.approx((0.502, 0.502, 0.502), abs=1e-3)
    assert len(model.labels) == 1000
    assert (model.reference, model.task, model.random) == (name, "classify", False)
    assert not model.module.training


@pytest.mark.parametrize("name", ["efficientnet-lite0", "efficientnet-lite2"])
def test_the_sample_photographs_of_imagenet_s_classes(name: str) -> None:
    """The class that each shows is among the first three; the cat comes first as a cat."""
    model = load_by_name(name, None, None)
    shown = {
        "chelsea.png": {"Egyptian cat", "tabby", "tiger cat"},
        "camera.png": {"tripod"},
        "coffee.png": {"espresso", "cup"},
        "motorcycle_left.png": {"moped", "motor scooter"},
        "rocket.jpg": {"missile", "projectile"},
    }
    files = {path.name: path for path in sample_files()}
    for file, labels in shown.items():
        pixels = torch.from_numpy(to_pixels(files[file].read_bytes(), model.picture, Limits())[None])
        best = run_whole(whole_module(model), pixels)[0][0].topk(3).indices.tolist()

        assert labels & {model.labels[index] for index in best}, (file, [model.labels[index] for index in best])
        assert file != "chelsea.png" or model.labels[best[0]] in labels


def test_other_weights_and_sizes() -> None:
    model = load_by_name("efficientnet-lite0", "random:1", 112)

    assert (model.picture.height, model.picture.resize, model.weights) == (112, 128, "random:1")
    assert model.random
    assert model.origins["size"] == "an option"


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(1)}, tmp_path / "w.pt")

    with pytest.raises(ModelError, match="does not fit the model"):
        load_by_name("efficientnet-lite0", str(tmp_path / "w.pt"), None)


def test_a_file_with_another_digest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(b"other")

    with pytest.raises(FileError, match=r"has the sha256 d9298a10.*, not 0000: .* install its package again"):
        check_digest(tmp_path / "w.pth", "0000")
    with pytest.raises(FileError, match="No such file"):
        check_digest(tmp_path / "nowhere.pth", "0000")
