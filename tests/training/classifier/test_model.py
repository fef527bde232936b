"""The small network: any size, any number of classes, and taken by the cutter's own loader."""

import pytest
import torch

from shardline.partition.models import load_model
from shardline.training.classifier.model import SmallResNet
from shardline.wire.errors import ModelError, ShardlineError, UsageError


@pytest.mark.parametrize("side", [16, 31, 96])
def test_it_takes_pictures_of_any_size(side: int) -> None:
    model = SmallResNet(num_classes=7).eval()

    assert model(torch.zeros(2, 3, side, side)).shape == (2, 7)


def test_a_reference_may_have_arguments() -> None:
    reference = "shardline.training.classifier.model:SmallResNet?num_classes=3&widths=(8,16)&blocks=(1,2)"

    model = load_model(reference, "random:1")

    assert model.reference == reference
    assert model.module(torch.zeros(1, 3, 32, 32)).shape == (1, 3)


@pytest.mark.parametrize(
    ("query", "error", "said"),
    [
        ("classes=3", ModelError, "raised TypeError: .*unexpected keyword argument 'classes'"),
        ("num_classes", UsageError, r"write arguments as \?name=value&name=value"),
    ],
)
def test_an_argument_that_it_does_not_have_is_refused(query: str, error: type[ShardlineError], said: str) -> None:
    with pytest.raises(error, match=said):
        load_model(f"shardline.training.classifier.model:SmallResNet?{query}")
