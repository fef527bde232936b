"""timm's models by name: preprocessing and labels of their configuration, and one line for every failure."""

import pytest

from shardline.partition.models import load_model
from shardline.partition.timm_models import imagenet_wordnet_ids, is_timm_model
from shardline.storage.bundle import PictureSpec
from shardline.wire.errors import ModelError, UsageError

SMALL = "timm:test_resnet"


def test_a_model_brings_its_configuration_and_imagenet_s_labels() -> None:
    model = load_model("timm:vit_tiny_patch16_224", "random:0")

    assert model.picture == PictureSpec(height=224, width=224, fit="crop", resize=248, interpolation="bicubic")
    assert (model.mean, model.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert model.labels[3] == "tiger shark"
    assert model.origins["mean"] == "the model's"
    assert model.random


def test_arguments_of_the_builder() -> None:
    model = load_model("timm:vit_tiny_patch16_224?img_size=96&num_classes=7&global_pool=avg", "random:0")

    assert model.picture.height == 96
    assert model.labels == ()
    with pytest.raises(ModelError, match="timm does not build it"):
        load_model(f"{SMALL}?colour=1", "random:0")


def test_timm_s_own_factory_keeps_its_configuration() -> None:
    model = load_model("timm:create_model?model_name=test_resnet")

    assert model.picture.height == load_model(SMALL, "random:0").picture.height == 160
    assert model.labels == ()


def test_an_unknown_name_brings_near_ones() -> None:
    with pytest.raises(UsageError, match="timm has no model 'resnet19': did you mean resnet18"):
        load_model("timm:resnet19", "random:0")
    assert is_timm_model("resnet50.a1_in1k")
    assert not is_timm_model("resnet19")


def test_weights_that_cannot_be_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    with pytest.raises(ModelError, match=r"could not be downloaded .* give --weights FILE.safetensors or random:SEED"):
        load_model("timm:resnet10t")
    with pytest.raises(ModelError, match="timm has no weights for vit_large_patch14_224"):
        load_model("timm:vit_large_patch14_224")


def test_wordnet_ids() -> None:
    ids = imagenet_wordnet_ids()

    assert (len(set(ids)), ids[3], list(ids)) == (1000, "n01491361", sorted(ids))
