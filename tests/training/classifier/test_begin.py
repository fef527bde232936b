"""A training may begin with another's weights: all but the layer that answers."""

from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from shardline.training.classifier.begin import begin_with, first_model, weights_of
from shardline.training.classifier.model import SmallResNet
from shardline.wire.errors import ModelError

OWN = "shardline.training.classifier.model:SmallResNet?num_classes=5&widths=(4,8)&blocks=(1,1)"


def small(classes: int) -> SmallResNet:
    return SmallResNet(num_classes=classes, widths=(4, 8), blocks=(1, 1))


def test_first_weights_follow_from_the_seed() -> None:
    one, same, other = (first_model(OWN, seed, 32).module.state_dict() for seed in (1, 1, 2))

    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["head.weight"], other["head.weight"])


def test_all_but_the_last_layer_is_taken_over(tmp_path: Path) -> None:
    before, module = small(9), small(5)
    own = module.head.weight.clone()
    save_file(before.state_dict(), tmp_path / "before.safetensors")

    fresh = begin_with(module, weights_of(OWN, str(tmp_path / "before.safetensors")), "before.safetensors")

    assert fresh == ["head.bias", "head.weight"]
    assert torch.equal(module.stem[0].weight, before.stem[0].weight)
    assert torch.equal(module.head.weight, own)


def test_torchvision_s_weights_come_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a download leaves them: torchvision looks there before it asks the network."""
    shipped = torchvision.models.get_model("squeezenet1_1")
    url = torchvision.models.get_model_weights("squeezenet1_1").DEFAULT.url
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(shipped.state_dict(), tmp_path / "hub" / "checkpoints" / url.rpartition("/")[2])
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    model = first_model("torchvision:squeezenet1_1?num_classes=3", 0, 64)

    fresh = begin_with(model.module, weights_of("torchvision:squeezenet1_1", "DEFAULT"), "DEFAULT")

    assert fresh == ["classifier.1.bias", "classifier.1.weight"]
    found = model.module.state_dict()
    assert all(torch.equal(found[name], each) for name, each in shipped.state_dict().items() if name not in fresh)


def test_weights_of_another_model_are_refused() -> None:
    state = torchvision.models.get_model("squeezenet1_1").state_dict()

    with pytest.raises(ModelError, match=r"--weights x\.pt is of another model: it lacks .*0 of \d+ tensors"):
        begin_with(small(5), state, "x.pt")


def test_a_size_that_the_model_does_not_take_is_said() -> None:
    with pytest.raises(ModelError, match=r"does not take pictures of 64 pixels a side .*image_size=96"):
        first_model("torchvision:vit_b_32?num_classes=3", 0, 64)
