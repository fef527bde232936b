"""A classifier without the layer that names classes: what it gives then is an embedding."""

from dataclasses import replace

import torch
from torch import nn

from shardline.partition.models import Model
from shardline.partition.program import one_line
from shardline.wire.errors import ModelError


def without_head(model: Model) -> Model:
    """The model with its head, the last linear layer, taken out, and without labels.

    A network without linear layers (SqueezeNet) loses its last convolution: what is averaged is then the features.

    Raises:
        ModelError: an exported program, or a model that does not give float [batch, width] without its head.
    """
    if not isinstance(model.module, nn.Module) or isinstance(model.module, torch.fx.GraphModule):
        raise ModelError(f"{model.reference}: an exported program keeps its head; export the model without it")
    named = list(model.module.named_modules())
    linear = [name for name, each in named if isinstance(each, nn.Linear)]
    heads = linear or [name for name, each in named if isinstance(each, nn.Conv2d)]
    if not heads or not heads[-1]:
        raise ModelError(f"{model.reference} has no head to take out: leave --embed out, or give another model")
    model.module.set_submodule(heads[-1], nn.Identity())
    _check(model, heads[-1])
    return replace(model, labels=())


def _check(model: Model, head: str) -> None:
    wanted = f"{model.reference} without {head} must give one float [batch, width]"
    picture = torch.zeros(2, 3, model.picture.height, model.picture.width)
    try:
        with torch.inference_mode():
            found = model.module(picture)
    except Exception as exc:  # the user's model
        raise ModelError(f"{wanted}; it fails: {one_line(exc)}") from exc
    if not isinstance(found, torch.Tensor) or found.dim() != 2 or len(found) != 2 or not found.is_floating_point():
        what = list(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
        raise ModelError(f"{wanted}; it gives {what}: write a factory for a model that does")
