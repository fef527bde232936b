"""Weights of a file: plain state dicts, checkpoints of training scripts, and names with a wrapper's prefix."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from shardline.partition.models import load_model
from shardline.partition.state import load_state, read_state, without_wrappers
from shardline.wire.errors import ModelError


class Wrapper(nn.Module):
    """A model whose own names begin with a wrapper's prefix."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Linear(2, 1)


def weights() -> dict[str, torch.Tensor]:
    return {"weight": torch.tensor([[3.0, 4.0]]), "bias": torch.tensor([5.0])}


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "net"])
def test_a_checkpoint_holds_its_state_under_a_usual_key(tmp_path: Path, key: str) -> None:
    torch.save({"epoch": 3, key: weights(), "optimizer": {"lr": 0.1}}, tmp_path / "w.pt")

    assert {name: value.tolist() for name, value in read_state(tmp_path / "w.pt").items()} == {
        "weight": [[3.0, 4.0]],
        "bias": [5.0],
    }


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod.", "_orig_mod.module."])
def test_prefixes_of_wrappers_are_removed(tmp_path: Path, prefix: str) -> None:
    save_file({f"{prefix}{name}": value for name, value in weights().items()}, tmp_path / "w.safetensors")
    module = nn.Linear(2, 1)

    load_state(module, tmp_path / "w.safetensors")

    assert module.weight.tolist() == [[3.0, 4.0]]


def test_names_that_the_model_has_itself_are_kept() -> None:
    own = Wrapper().state_dict()

    assert without_wrappers(own, own) == own
    wrapped = {f"module.{name}": value for name, value in own.items()}
    assert without_wrappers(wrapped, own).keys() == own.keys()


def test_a_prefix_of_some_names_alone_is_kept(tmp_path: Path) -> None:
    save_file({"module.weight": torch.zeros(1, 2), "bias": torch.zeros(1)}, tmp_path / "w.safetensors")

    with pytest.raises(ModelError, match="does not fit the model"):
        load_state(nn.Linear(2, 1), tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epoch": 3, "loss": 0.5}, "holds the keys epoch, loss; allowed are a state dict"),
        ([torch.zeros(1)], "holds a list"),
        ({}, "holds nothing"),
    ],
)
def test_a_file_without_a_state_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    torch.save(content, tmp_path / "w.pt")

    with pytest.raises(ModelError, match=rf"{message}.*: save model\.state_dict\(\)"):
        read_state(tmp_path / "w.pt")


def test_weights_of_an_auxiliary_head_are_left_out(tmp_path: Path) -> None:
    """A training saves the head of a segmentation that only a training uses."""
    reference = "torchvision:deeplabv3_mobilenet_v3_large?num_classes=3"
    plain = load_model(reference, "random:0", size=32)
    state = {**plain.module.state_dict(), "aux_classifier.0.weight": torch.zeros(2)}
    save_file(state, tmp_path / "it.safetensors")

    loaded = load_model(reference, str(tmp_path / "it.safetensors"), size=32)

    assert torch.equal(
        loaded.module.get_parameter("classifier.4.bias"), plain.module.get_parameter("classifier.4.bias")
    )
