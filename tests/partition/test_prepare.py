"""Random weights that tell pictures apart, as trained ones would."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import VisionTransformer

from shardline.partition.capture import capture, run_whole, whole_module
from shardline.partition.compare import norm_error
from shardline.partition.models import Model, load_model
from shardline.partition.prepare import calibrate, in_precision, prepare, without_head
from shardline.storage.bundle import PictureSpec
from shardline.training.samples import calibration_pixels, sample_pictures
from shardline.wire.errors import ModelError, UsageError


@dataclass(frozen=True)
class Calibrated:
    model: Model
    pictures: np.ndarray  # what it was calibrated on: four views of each photograph
    photographs: np.ndarray


def calibrated_resnet(seed: int = 0) -> Calibrated:
    model = load_model("torchvision:resnet18", f"random:{seed}", size=64)
    pictures = calibration_pixels(sample_pictures(), model.picture)
    calibrate(model, pictures, seed)
    return Calibrated(model, pictures, pictures[::4])


@pytest.fixture(scope="module")
def resnet() -> Calibrated:
    return calibrated_resnet()


def logits(model: Model, pictures: np.ndarray) -> torch.Tensor:
    """One picture at a time, as a server sees them."""
    module = whole_module(model)
    return torch.cat([run_whole(module, picture[None])[0] for picture in torch.from_numpy(pictures)])


def small_transformer(head_weight: float | None = None) -> Model:
    torch.manual_seed(0)
    module = VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=64, num_classes=20
    )
    if head_weight is not None:
        nn.init.constant_(module.heads.head.weight, head_weight)
    return Model(
        reference="vit",
        weights="random:0",
        module=module.eval(),
        picture=PictureSpec(height=32, width=32, resize=36),
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        random=True,
    )


def pictures_for(model: Model) -> np.ndarray:
    return calibration_pixels(sample_pictures()[:6], model.picture)


def test_answers_differ_from_picture_to_picture(resnet: Calibrated) -> None:
    assert len(resnet.photographs) == len(sample_pictures())
    assert len(set(logits(resnet.model, resnet.photographs).argmax(1).tolist())) >= 3


def test_an_uncalibrated_model_says_the_same_of_every_picture(resnet: Calibrated) -> None:
    """What calibration is for."""
    raw = load_model("torchvision:resnet18", "random:0", size=64)

    assert len(set(logits(raw, resnet.photographs).argmax(1).tolist())) < 3


def test_no_class_is_favoured_and_logits_spread(resnet: Calibrated) -> None:
    found = logits(resnet.model, resnet.pictures)

    assert found.mean(dim=0).abs().max() < 1e-3
    assert found.std(dim=0).mean() == pytest.approx(2.0, rel=1e-3)


def test_statistics_are_measured_and_layers_left_as_they_were(resnet: Calibrated) -> None:
    layers = [layer for layer in resnet.model.module.modules() if isinstance(layer, nn.BatchNorm2d)]

    assert len(layers) == 20
    assert {layer.momentum for layer in layers} == {0.1}
    assert all(layer.running_mean is not None and layer.running_mean.any() for layer in layers)
    assert not any(module.training for module in resnet.model.module.modules())


def test_rounding_errors_do_not_grow_from_block_to_block(resnet: Calibrated) -> None:
    """With the gain of 1 that branches are drawn with, the error of bf16 is 0.041 here."""
    found, expected = (
        logits(model, resnet.photographs).numpy() for model in (in_precision(resnet.model, "bf16"), resnet.model)
    )

    assert 0.001 < norm_error(found, expected) < 0.03


def test_the_longer_branch_of_a_block_is_scaled(resnet: Calibrated) -> None:
    weights = resnet.model.module.state_dict()

    for name in ("layer1.0.bn2", "layer1.1.bn2", "layer4.0.bn2", "layer4.1.bn2"):
        assert weights[f"{name}.weight"].tolist() == pytest.approx([0.2] * len(weights[f"{name}.weight"]))
    for name in ("bn1", "layer1.0.bn1", "layer2.0.downsample.1"):
        assert float(weights[f"{name}.weight"].max()) == 1.0


def test_calibration_is_the_same_each_time(resnet: Calibrated) -> None:
    again = calibrated_resnet().model.module.state_dict()

    assert all(torch.equal(value, again[name]) for name, value in resnet.model.module.state_dict().items())


def test_a_head_of_zeros_is_drawn_again_by_the_seed() -> None:
    heads = []
    for seed in (1, 1, 2):
        model = small_transformer()
        assert not model.module.get_parameter("heads.head.weight").any()
        calibrate(model, pictures_for(model), seed)
        heads.append(model.module.get_parameter("heads.head.weight"))

    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    assert len(set(logits(model, pictures_for(model)).argmax(1).tolist())) >= 3


def test_a_head_that_is_not_zero_keeps_its_direction() -> None:
    model = small_transformer(head_weight=0.25)
    calibrate(model, pictures_for(model))
    weight = model.module.get_parameter("heads.head.weight")

    assert torch.equal(weight, weight[0, 0].expand_as(weight))


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_pictures_are_refused(count: int) -> None:
    model = small_transformer()

    with pytest.raises(ModelError, match=f"at least 2 pictures; there are {count}"):
        calibrate(model, pictures_for(model)[:count])


WIDTHS = {
    "alexnet": 4096,
    "convnext_tiny": 768,
    "densenet121": 1024,
    "efficientnet_b0": 1280,
    "googlenet": 1024,
    "inception_v3": 2048,
    "maxvit_t": 512,
    "mnasnet0_5": 1280,
    "mobilenet_v3_small": 1024,
    "regnet_y_400mf": 440,
    "resnet18": 512,
    "shufflenet_v2_x0_5": 1024,
    "squeezenet1_1": 512,
    "swin_t": 768,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WIDTHS)
def test_torchvision_s_families(name: str) -> None:
    model = without_head(load_model(f"torchvision:{name}", "random:0"))

    with torch.inference_mode():
        found = model.module(torch.zeros(1, 3, model.picture.height, model.picture.width))

    assert found.shape == (1, WIDTHS[name])
    assert model.labels == ()


def test_small_ones() -> None:
    residual = without_head(load_model("services.small_models:residual", size=32))
    transformer = without_head(load_model("services.small_models:vision_transformer", size=32))

    assert residual.module(torch.zeros(2, 3, 32, 32)).shape == (2, 8)
    assert transformer.module(torch.zeros(2, 3, 32, 32)).shape == (2, 32)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Sequential(nn.ReLU()), "has no head to remove"),
        (nn.Linear(3, 3), "has no head to remove"),
        (
            nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)),
            r"without 1 must return one .*; it returns \[2, 4, 8, 8\]",
        ),
        (nn.Sequential(nn.Linear(8, 8), nn.Conv2d(5, 4, 1)), r"without 0 must return one .*; it raised RuntimeError"),
    ],
)
def test_what_has_none(module: nn.Module, message: str) -> None:
    model = replace(load_model("services.small_models:residual", size=8), module=module)

    with pytest.raises(ModelError, match=message):
        without_head(model)


def test_the_users_model_is_left_as_it_is() -> None:
    model = load_model("services.small_models:residual", size=32)
    in_precision(model, "bf16")

    assert {parameter.dtype for parameter in model.module.parameters()} == {torch.float32}
    assert in_precision(model, "fp32") is model


class NamesItsDtype(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.linear(x.mean((2, 3), dtype=torch.float32))
        return found


@pytest.mark.parametrize(
    ("change", "precision", "message"),
    [
        ({"takes_pixels": True}, "bf16", "normalises its pixels by itself"),
        ({"module": NamesItsDtype()}, "bf16", "does not run in bf16: .*follow the dtype of its input"),
    ],
)
def test_what_cannot_be_rounded(change: dict[str, Any], precision: str, message: str) -> None:
    model = replace(load_model("services.small_models:residual", size=32), **change)

    with pytest.raises(ModelError, match=message):
        in_precision(model, precision)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(UsageError, match="allowed are fp32, bf16, fp16"):
        in_precision(load_model("services.small_models:residual", size=32), "fp8")


def test_what_is_given_takes_the_place_of_the_model_s_own() -> None:
    model = load_model("services.small_models:residual", size=32)
    mean, std, labels = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), tuple("abcdefghij")

    prepared = prepare(model, pictures_for(model), mean=mean, std=std, labels=labels)

    assert (prepared.mean, prepared.std, prepared.labels) == (mean, std, labels)
    assert prepare(model, pictures_for(model)) == model


def test_random_weights_are_calibrated_and_reported() -> None:
    model = load_model("services.small_models:residual", "random:0", size=32)
    lines: list[str] = []

    prepare(model, pictures_for(model), progress=lines.append)

    assert lines == [f"calibrating random weights on {len(pictures_for(model))} pictures"]
    assert model.module.get_buffer("one.1.running_mean").any()


def test_a_segmentation_with_random_weights_has_several_classes() -> None:
    model = load_model("torchvision:lraspp_mobilenet_v3_large", "random:0", size=64)
    pictures = calibration_pixels(sample_pictures()[:4], model.picture)
    calibrate(model, pictures)
    [scores] = run_whole(whole_module(model), torch.from_numpy(pictures))
    counts = torch.bincount(scores.argmax(1).flatten(), minlength=21)

    assert scores.mean(dim=(0, 2, 3)).abs().max() < 1e-3
    assert int((counts > counts.sum() / 100).sum()) >= 5


@pytest.mark.parametrize("name", ["services.small_models:vision_transformer", "torchvision:squeezenet1_1"])
def test_a_model_that_does_not_run_on_its_pictures_is_one_line_with_and_without_random_weights(name: str) -> None:
    model = load_model(name, "random:0", size=10)
    pictures = np.zeros((2, 3, 10, 10), np.uint8)

    message = f"{name} does not run on pictures of 10 x 10 pixels, mode RGB: .*; give another --size, --mode or --input"
    with pytest.raises(ModelError, match=message):
        prepare(model, pictures)
    with pytest.raises(ModelError, match=message):
        capture(model)


def test_another_number_of_means_than_channels_is_refused() -> None:
    model = load_model("services.many_inputs:grey", size=16)

    with pytest.raises(UsageError, match="--mean has 3 numbers, and pictures of mode L have 1 channels"):
        prepare(model, np.zeros((2, 1, 16, 16), np.uint8), mean=(0.5, 0.5, 0.5))
