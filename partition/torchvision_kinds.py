"""Kinds of torchvision's models: the task, builder arguments, preprocessing and heads of each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torchvision
from torch import nn

from shardline.storage.bundle import PictureSpec
from shardline.wire.errors import UsageError


def _unchanged(module: nn.Module) -> nn.Module:
    return module


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchvisionKind:
    """One kind of torchvision's models.

    Attributes:
        task: key of shardline.tasks.registry.TASKS that answers with such a model.
        registry: module of torchvision that registers such models.
        picture: makes the preprocessing from the preset of the model's weights.
        arguments: for every builder where no pretrained weights are loaded.
        own_arguments: builder arguments of single models by name, for the same case.
        finish: changes a built model for evaluation.
    """

    task: str
    registry: Any
    picture: Callable[[Any], PictureSpec]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    own_arguments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    finish: Callable[[nn.Module], nn.Module] = _unchanged

    def builder_arguments(self, name: str) -> dict[str, Any]:
        """Arguments of a model's builder where no pretrained weights are loaded."""
        return {**self.arguments, **self.own_arguments.get(name, {})}


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


def _cropped(preset: Any) -> PictureSpec:
    return PictureSpec(
        height=preset.crop_size[0],
        width=preset.crop_size[0],
        fit="crop",
        resize=preset.resize_size[0],
        interpolation=preset.interpolation.value,
    )


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
)
