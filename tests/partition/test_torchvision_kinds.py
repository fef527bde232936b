"""Kinds of torchvision's models, found by name."""

import pytest

from shardline.partition.models import load_model
from shardline.partition.torchvision_kinds import torchvision_kind
from shardline.wire.errors import UsageError


def test_a_classifier() -> None:
    kind = torchvision_kind("googlenet")

    assert kind.task == "classify"
    assert kind.builder_arguments("googlenet") == {"aux_logits": False, "init_weights": True}
    assert kind.builder_arguments("resnet18") == {}


def test_a_segmentation() -> None:
    kind = torchvision_kind("lraspp_mobilenet_v3_large")

    assert kind.task == "segment"
    assert kind.builder_arguments("lraspp_mobilenet_v3_large") == {"weights_backbone": None}


@pytest.mark.parametrize("name", ["", "resnet51", "raft_small"])
def test_a_name_that_no_task_answers_with(name: str) -> None:
    with pytest.raises(UsageError, match=f"no model '{name}' for the tasks .*list_models"):
        torchvision_kind(name)


def test_a_vision_transformer_gets_pictures_of_the_side_that_it_was_built_for() -> None:
    """The usual weights of some are for larger pictures than the model is built for without them."""
    picture = load_model("torchvision:vit_b_32?image_size=64", "random:0").picture

    assert (picture.height, picture.width, picture.resize) == (64, 64, 73)
