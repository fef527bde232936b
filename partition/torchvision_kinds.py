"""Kinds of torchvision's models: the task, builder arguments, preprocessing and heads of each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torchvision
from torch import nn

from shardline.partition.detectors import (
    detector_normalisation,
    detector_options,
    detector_picture,
    fixed_detector,
)
from shardline.storage.bundle import PictureSpec
from shardline.wire.errors import UsageError
from shardline.wire.typed import Scalar


def _unchanged(module: nn.Module) -> nn.Module:
    return module


def _of_preset(preset: Any, _: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return tuple(preset.mean), tuple(preset.std)


def _no_options(_: nn.Module) -> Mapping[str, Scalar]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchvisionKind:
    """One kind of torchvision's models.

    Attributes:
        task: key of shardline.tasks.registry.TASKS that answers with such a model.
        registry: module of torchvision that registers such models.
        picture: makes the preprocessing from the preset of the model's weights, and from the model as it was built.
        normalisation: mean and standard deviation, from the same two.
        options: of the task, from the model as it was built.
        arguments: for every builder where no pretrained weights are loaded.
        own_arguments: builder arguments of single models by name, for the same case.
        finish: changes a built model for evaluation.
    """

    task: str
    registry: Any
    picture: Callable[[Any, nn.Module], PictureSpec]
    normalisation: Callable[[Any, nn.Module], tuple[tuple[float, ...], tuple[float, ...]]] = _of_preset
    options: Callable[[nn.Module], Mapping[str, Scalar]] = _no_options
    arguments: Mapping[str, Any] = field(default_factory=dict)
    own_arguments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    finish: Callable[[nn.Module], nn.Module] = _unchanged

    def builder_arguments(self, name: str) -> dict[str, Any]:
        """Arguments of a model's builder where no pretrained weights are loaded."""
        return {**self.arguments, **self.own_arguments.get(name, {})}


def is_torchvision_model(name: str) -> bool:
    """Tell whether torchvision has a model of that name, of any kind."""
    return name in torchvision.models.list_models()


def torchvision_kind(name: str) -> TorchvisionKind:
    """Find the kind of torchvision's model `name`.

    Raises:
        UsageError: torchvision has no model of that name, or one of a kind that no task answers with.
    """
    for kind in _KINDS:
        if name in torchvision.models.list_models(module=kind.registry):
            return kind
    tasks = " or ".join(kind.task for kind in _KINDS)
    raise UsageError(f"torchvision has no model {name!r} for the tasks {tasks}; see torchvision.models.list_models()")


def _cropped(preset: Any, module: nn.Module) -> PictureSpec:
    """The preset's crop, or that of the side which a vision transformer was built for, which may be another."""
    usual = preset.crop_size[0]
    side = getattr(module, "image_size", usual)
    return PictureSpec(
        height=side,
        width=side,
        fit="crop",
        resize=round(preset.resize_size[0] * side / usual),
        interpolation=preset.interpolation.value,
    )


def _stretched(preset: Any, _: nn.Module) -> PictureSpec:
    """The preset resizes the shorter side and keeps the whole picture; a shard's input has one size."""
    side = preset.resize_size[0]
    return PictureSpec(height=side, width=side, fit="stretch", interpolation=preset.interpolation.value)


def _without_auxiliary_head(module: nn.Module) -> nn.Module:
    """Remove the head that only a training uses; LRASPP has none."""
    if "aux_classifier" in module._modules:  # else it is no module but None already
        module._modules["aux_classifier"] = None
    return module


_KINDS = (
    TorchvisionKind(
        task="classify",
        registry=torchvision.models,
        picture=_cropped,
        # without pretrained weights these builders warn or add training heads that evaluation never runs
        own_arguments={
            "googlenet": {"aux_logits": False, "init_weights": True},
            "inception_v3": {"aux_logits": False, "init_weights": True},
        },
    ),
    TorchvisionKind(
        task="detect",
        registry=torchvision.models.detection,
        picture=detector_picture,
        normalisation=detector_normalisation,
        options=detector_options,
        arguments={"weights_backbone": None},
        finish=fixed_detector,
    ),
    TorchvisionKind(
        task="segment",
        registry=torchvision.models.segmentation,
        picture=_stretched,
        arguments={"weights_backbone": None},
        finish=_without_auxiliary_head,
    ),
)
