"""Weights files: fp16 with a JSON, written whole or not at all, and the weights that ship."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from shardline.training.weights import shipped_plates, write_weights, write_whole
from shardline.wire.errors import FileError


def test_weights_are_halved_and_recorded(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))

    path = write_weights(tmp_path, "small", model, {"steps": 7})

    written = load_file(path)
    document = json.loads((tmp_path / "small.json").read_text())
    assert torch.equal(written["0.weight"], model.state_dict()["0.weight"].half())
    assert written["1.num_batches_tracked"].dtype == torch.int64
    assert document["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (document["weights"], document["steps"], document["parameters"]) == ("small.safetensors", 7, 120)


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", b"first")
    write_whole(tmp_path / "file", b"second")

    assert (tmp_path / "file").read_bytes() == b"second"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    with pytest.raises(FileError, match="cannot be written"):
        write_whole(tmp_path / "no folder" / "file", b"")


def test_the_detector_s_weights_ship() -> None:
    assert shipped_plates().stat().st_size > 1e6
