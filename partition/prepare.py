"""Prepare a model for capture: change its preprocessing, calibrate random weights, remove its head, or round it.

Calibration: a freshly initialised network gives nearly the same outputs for every picture, since its BatchNorm layers
assume mean 0 and variance 1, some heads start at zero, and rounding errors grow from one residual block to the next. So
the last normalisation of each branch is made small, the BatchNorm statistics are measured on real pictures, a head of
zeros is initialised at random, and a classifier's head is shifted and scaled so that no class is favoured on average
and logits spread as a trained model's do; a segmentation's head is only shifted. Nothing is learned: the result is a
stand-in for trained weights that is fair to every class and sensitive to pictures.

Rounding: pixels are normalised in fp32 and then rounded, and the outputs are widened to fp32 again, so that the task
sees the dtype that it always sees. The bundle's whole stays in fp32, so that the rounding error can be measured.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.autograd.graph import Node
from torch.utils._pytree import tree_leaves

from shardline.partition.capture import Pixels, random_pixels, run_whole, running, whole_module, with_samples
from shardline.partition.detectors import FixedDetector, calibrate_detector
from shardline.partition.guard import users_code
from shardline.partition.pictures import usual_mean_std
from shardline.partition.preprocessing import OPTION
from shardline.partition.program import Progress, silent
from shardline.wire.errors import ModelError, UsageError

if TYPE_CHECKING:
    from shardline.partition.models import Model

_BRANCH_GAIN = 0.2
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm)
_NORM_NODES = frozenset({"NativeBatchNormBackward0", "NativeLayerNormBackward0"})  # as autograd names them

_HEAD_STD = 0.02  # as vision transformers initialise their other linear layers
_LOGIT_STD = 2.0  # of one class's logit from picture to picture
_DETECTOR_PICTURES = 8  # which are large, and have thousands of positions each
_SEGMENT_VALUES = 12_000_000  # of pictures at most: a segmentation keeps large feature maps
_CHUNK = 8  # pictures per forward pass, where statistics do not depend on it

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def prepare(
    model: "Model",
    pixels: np.ndarray,
    *,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    labels: tuple[str, ...] | None = None,
    embed: bool = False,
    progress: Progress = silent,
) -> "Model":
    """Prepare a loaded model for capture: replace its constants, and calibrate it where its weights are random.

    Args:
        pixels: real pictures of the model's size, uint8 [n, channels, height, width], as different as possible.
        mean: mean of each channel, instead of the model's.
        std: standard deviation of each channel, instead of the model's.
        labels: names of the classes, instead of the model's.
        embed: remove the head, so that the model returns embeddings.

    Raises:
        ModelError: `embed` without a head to remove, or too few pictures to calibrate with.
        UsageError: another number of means or deviations than channels.
    """
    for name, values in (("--mean", mean), ("--std", std)):
        if values is not None and len(values) != model.picture.channels:
            raise UsageError(
                f"{name} has {len(values)} numbers, and pictures of mode {model.picture.mode} have "
                f"{model.picture.channels} channels: give one number a channel, or another --mode"
            )
    model = without_head(model) if embed else model
    model = replace(
        model,
        mean=mean or model.mean,
        std=std or model.std,
        labels=model.labels if labels is None else labels,
        origins={**model.origins, **{name: OPTION for name, value in (("mean", mean), ("std", std)) if value}},
    )
    if model.random:
        progress(f"calibrating random weights on {len(pixels)} pictures")
        calibrate(model, pixels)
    return model


def with_picture(
    model: "Model",
    *,
    fit: str | None = None,
    resize: int | None = None,
    interpolation: str | None = None,
    mode: str | None = None,
) -> "Model":
    """Change a model's preprocessing; None keeps the model's own.

    Args:
        fit: "crop", "stretch" or "letterbox".
        resize: length of the shorter side in pixels before the crop.
        interpolation: "bilinear", "bicubic" or "nearest".
        mode: "L", "RGB" or "RGBA"; mean and standard deviation become the usual ones where their number changes.

    Raises:
        UsageError: `resize` without a crop, or smaller than the crop.
    """
    picture = model.picture
    if fit is not None and fit != picture.fit:
        picture = replace(picture, fit=fit, resize=None)
    if resize is not None and picture.fit != "crop":
        raise UsageError(f"--resize {resize} goes with --fit crop; this model's pictures are fitted by {picture.fit}")
    if resize is not None and resize < min(picture.height, picture.width):
        raise UsageError(
            f"--resize {resize} is smaller than the crop of {picture.height} x {picture.width}, and leaves a black "
            f"border: give {min(picture.height, picture.width)} or more"
        )
    picture = replace(
        picture,
        resize=resize or picture.resize,
        interpolation=interpolation or picture.interpolation,
        mode=mode or picture.mode,
    )
    mean, std = (model.mean, model.std) if picture.channels == len(model.mean) else usual_mean_std(picture.mode)
    options = {"fit": fit or resize, "interpolation": interpolation, "mode": mode}
    origins = {**model.origins, **{name: OPTION for name, value in options.items() if value is not None}}
    return replace(model, picture=picture, mean=mean, std=std, origins=origins)


def calibrate(model: "Model", pictures: np.ndarray, seed: int = 0) -> None:
    """Set the model's BatchNorm statistics and head, in place, so that its outputs differ between pictures.

    Args:
        pictures: uint8 [n, channels, height, width], real pictures, as different as possible; n ≥ 2.

    Raises:
        ModelError: fewer than two pictures.
    """
    if len(pictures) < 2:
        raise ModelError(f"random weights are calibrated on at least 2 pictures; there are {len(pictures)}")
    pixels = torch.from_numpy(pictures)
    module = whole_module(model)
    _draw_zero_heads(module, seed)
    if isinstance(model.module, FixedDetector):
        pixels = pixels[:_DETECTOR_PICTURES]
    elif model.task == "segment":
        pixels = pixels[:: -(-pixels.numel() // _SEGMENT_VALUES)]
    with running(model):
        _soften_branches(module, with_samples(model, pixels[:1]))
        _measure_batch_norms(module, with_samples(model, pixels))
        if model.task == "classify":
            _balance_head(module, model, pixels)
        elif isinstance(model.module, FixedDetector):
            calibrate_detector(model.module, module, pixels)
        elif model.task == "segment":
            _shift_head(module, model, pixels)


def _draw_zero_heads(module: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.Linear) and not layer.weight.any():
            nn.init.trunc_normal_(layer.weight, std=_HEAD_STD, generator=generator)


def _soften_branches(module: nn.Module, inputs: Sequence[torch.Tensor]) -> None:
    """Scale the last normalisation of each residual branch, so that rounding errors do not grow from block to block.

    Trained networks have small ones; with a gain of 1 a branch passes on each error as large as the shortcut does. The
    branches are found in the graph that autograd records of one forward pass.
    """
    norms = {id(layer.weight): layer for layer in module.modules() if isinstance(layer, _NORMS)}
    with torch.enable_grad():
        outputs = tree_leaves(module(*inputs))
    ends = [value.grad_fn for value in outputs if isinstance(value, torch.Tensor) and value.grad_fn is not None]
    with torch.no_grad():
        for weight in {id(weight): weight for weight in _closing_weights(ends) if id(weight) in norms}.values():
            weight *= _BRANCH_GAIN


def _closing_weights(ends: Sequence[Node]) -> Iterator[torch.Tensor]:
    """Yield the weight of each normalisation whose output is added to something: the longer branch's, where both are.

    Args:
        ends: of the graph that autograd records.
    """
    depths = _depths(ends)
    for node in depths:
        added = [operand for operand, _ in node.next_functions if operand is not None]
        closing = [operand for operand in added if operand.name() in _NORM_NODES]
        if node.name() == "AddBackward0" and len(added) > 1 and closing:
            longest = max(closing, key=depths.__getitem__)
            weight = getattr(longest.next_functions[1][0], "variable", None)  # of the node that a parameter is
            yield from () if weight is None else (weight,)


def _depths(ends: Sequence[Node]) -> Mapping[Node, int]:
    """Length of the longest path from each node of a graph to a leaf."""
    depths: dict[Node, int] = {}
    waiting = list(ends)
    while waiting:
        node = waiting[-1]
        earlier = [operand for operand, _ in node.next_functions if operand is not None]
        if unknown := [operand for operand in earlier if operand not in depths]:
            waiting += unknown
            continue
        depths[waiting.pop()] = 1 + max((depths[operand] for operand in earlier), default=0)
    return depths


def _measure_batch_norms(module: nn.Module, inputs: Sequence[torch.Tensor]) -> None:
    """Run all pictures in a single pass, so that each layer sees the normalised outputs of the layers before it."""
    layers = [layer for layer in module.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # None: the plain average over batches
        layer.train()
    with torch.no_grad():
        module(*inputs)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
        layer.eval()


def _balance_head(module: nn.Module, model: "Model", pixels: torch.Tensor) -> None:
    """Shift and scale the layer that makes the logits, if there is one: mean 0 per class, deviation `_LOGIT_STD`."""
    with torch.no_grad():
        logits = torch.cat([_logits(module, with_samples(model, chunk)) for chunk in torch.split(pixels, _CHUNK)])
        head = _head(module, logits.shape[-1])
        if head is None or head.bias is None:
            return
        scale = _LOGIT_STD / logits.std(dim=0).mean().clamp(min=1e-6)
        head.weight *= scale
        head.bias.copy_((head.bias - logits.mean(dim=0)) * scale)


def _shift_head(module: nn.Module, model: "Model", pixels: torch.Tensor) -> None:
    """Shift the last layer that makes scores of classes, [batch, classes, h, w], so that each class has mean 0.

    The scores are not scaled: the class with the highest one stays the same, and LRASPP adds those of two layers.
    """
    with torch.no_grad():
        chunks = torch.split(pixels, _CHUNK)
        means = [tree_leaves(module(*with_samples(model, chunk)))[0].mean(dim=(0, 2, 3)) for chunk in chunks]
        mean = torch.stack(means).mean(dim=0)
        head = _head(module, len(mean))
        if head is not None and head.bias is not None:
            head.bias -= mean


def _logits(module: nn.Module, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
    first: torch.Tensor = tree_leaves(module(*inputs))[0]
    return first.flatten(1)


def _head(module: nn.Module, classes: int) -> nn.Linear | nn.Conv2d | None:
    """Find the last layer that returns one value per class."""
    found: nn.Linear | nn.Conv2d | None = None
    for layer in module.modules():
        if (isinstance(layer, nn.Linear) and layer.out_features == classes) or (
            isinstance(layer, nn.Conv2d) and layer.out_channels == classes
        ):
            found = layer
    return found


class _Rounded(Pixels):
    """Wrapper of a model whose weights and activations are rounded to `dtype`, on uint8 [batch, channels, h, w]."""

    def __init__(self, model: "Model", dtype: torch.dtype) -> None:
        super().__init__(copy.deepcopy(model.module).to(dtype), model.mean, model.std, model.inputs)
        self._dtype = dtype

    def forward(self, pixels: torch.Tensor, *inputs: torch.Tensor) -> tuple[object, ...]:
        values = self.prepared(pixels, *inputs)
        rounded = (value.to(self._dtype) if value.is_floating_point() else value for value in values)
        return tuple(_widened(value) for value in self.outputs(*rounded))


def _widened(value: object) -> object:
    return value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value


def in_precision(model: "Model", precision: str) -> "Model":
    """Round a model to a precision, and let it take pixels; in fp32 the model itself is returned, unchanged.

    Raises:
        UsageError: an unknown precision.
        ModelError: a model that needs fp32: an exported program that normalises by itself, or one that names the dtype
            in its code.
    """
    if precision == "fp32":
        return model
    if precision not in _DTYPES:
        raise UsageError(f"--precision {precision!r}: allowed are fp32, {', '.join(_DTYPES)}")
    if model.takes_pixels:
        raise ModelError(
            f"{model.reference} normalises its pixels by itself, in fp32: give a model that takes normalised "
            f"float32 pictures, or build without --precision {precision}"
        )
    rounded = _Rounded(model, _DTYPES[precision])
    remedy = "; build it in fp32, or let its forward follow the dtype of its input"
    with users_code(f"{model.reference} does not run in {precision}: it", remedy):
        run_whole(rounded, *with_samples(model, random_pixels(model, 1)))
    return replace(model, module=rounded, takes_pixels=True)


def without_head(model: "Model") -> "Model":
    """Remove a classifier's head, its last linear layer, so that it returns embeddings; labels are removed, too.

    A network without linear layers (SqueezeNet) loses its last convolution; its features are averaged then.

    Raises:
        ModelError: an exported program, or a model that does not return float [batch, width] without its head.
    """
    if not isinstance(model.module, nn.Module) or isinstance(model.module, torch.fx.GraphModule):
        raise ModelError(f"{model.reference}: an exported program keeps its head; export the model without it")
    named = list(model.module.named_modules())
    linear = [name for name, layer in named if isinstance(layer, nn.Linear)]
    heads = linear or [name for name, layer in named if isinstance(layer, nn.Conv2d)]
    if not heads or not heads[-1]:
        raise ModelError(f"{model.reference} has no head to remove: leave --embed out, or choose another model")
    model.module.set_submodule(heads[-1], nn.Identity())
    _check_embedding(model, heads[-1])
    return replace(model, labels=())


def _check_embedding(model: "Model", head: str) -> None:
    wanted = f"{model.reference} without {head} must return one float [batch, width]"
    picture = torch.zeros(2, model.picture.channels, model.picture.height, model.picture.width)
    with users_code(f"{wanted}; it"), torch.inference_mode():
        found = model.module(picture)
    if not isinstance(found, torch.Tensor) or found.dim() != 2 or len(found) != 2 or not found.is_floating_point():
        what = list(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
        raise ModelError(f"{wanted}; it returns {what}: write a factory for a model that does")
