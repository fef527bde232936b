"""Random weights whose answers differ from picture to picture.

A freshly initialised network says nearly the same of every picture: its BatchNorm layers assume mean 0 and variance 1,
and some heads start at zero. So the BatchNorm statistics are measured on real pictures, a head of zeros is drawn anew,
and a classifier's head is shifted and scaled so that no class is favoured on average and logits spread as a trained
model's do.
Nothing here is learned: it makes a stand-in for trained weights that is fair to every class and sensitive to pictures.
"""

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from shardline.partition.capture import whole_module
from shardline.partition.models import Model
from shardline.wire.errors import ModelError

_HEAD_STD = 0.02  # as vision transformers initialise their other linear layers
_LOGIT_STD = 2.0  # of one class's logit from picture to picture
_CHUNK = 8  # pictures at a time, where statistics do not depend on it


def calibrate(model: Model, pictures: np.ndarray, seed: int = 0) -> None:
    """Set the model's statistics and head in place.

    Args:
        pictures: uint8 [n, 3, height, width], real ones, the more different the better; n ≥ 2.

    Raises:
        ModelError: fewer than two pictures.
    """
    if len(pictures) < 2:
        raise ModelError(f"random weights are calibrated on at least 2 pictures; there are {len(pictures)}")
    pixels = torch.from_numpy(pictures)
    module = whole_module(model)
    _draw_zero_heads(module, seed)
    _measure_batch_norms(module, pixels)
    if model.task == "classify":
        _balance_head(module, pixels)


def _draw_zero_heads(module: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.Linear) and not layer.weight.any():
            nn.init.trunc_normal_(layer.weight, std=_HEAD_STD, generator=generator)


def _measure_batch_norms(module: nn.Module, pixels: torch.Tensor) -> None:
    """One pass over all pictures at once: each layer sees what the layers before it, normalised, give."""
    layers = [layer for layer in module.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # None: the plain average over batches
        layer.train()
    with torch.no_grad():
        module(pixels)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
        layer.eval()


def _balance_head(module: nn.Module, pixels: torch.Tensor) -> None:
    """Shift and scale the layer that makes the logits, if there is one: per class mean 0, on average `_LOGIT_STD`."""
    with torch.no_grad():
        logits = torch.cat([_logits(module, chunk) for chunk in torch.split(pixels, _CHUNK)])
        head = _head(module, logits.shape[-1])
        if head is None or head.bias is None:
            return
        scale = _LOGIT_STD / logits.std(dim=0).mean().clamp(min=1e-6)
        head.weight *= scale
        head.bias.copy_((head.bias - logits.mean(dim=0)) * scale)


def _logits(module: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    first: torch.Tensor = tree_leaves(module(pixels))[0]
    return first.flatten(1)


def _head(module: nn.Module, classes: int) -> nn.Linear | nn.Conv2d | None:
    """The last layer that gives one value per class."""
    found: nn.Linear | nn.Conv2d | None = None
    for layer in module.modules():
        if (isinstance(layer, nn.Linear) and layer.out_features == classes) or (
            isinstance(layer, nn.Conv2d) and layer.out_channels == classes
        ):
            found = layer
    return found
