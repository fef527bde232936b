"""Convolution layers of the detector, and folding their batch normalisation into the weights, and back.

A folded network is the same function without normalisation, and faster. A training that begins with folded weights
restores normalisation first.
"""

import copy
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from shardline.wire.errors import ModelError

_Network = TypeVar("_Network", bound=nn.Module)


class ConvUnit(nn.Sequential):
    """A 3 × 3 convolution, batch normalisation where `normed`, and a ReLU unless `last`."""

    def __init__(self, before: int, after: int, stride: int = 1, *, normed: bool, last: bool = False) -> None:
        conv = nn.Conv2d(before, after, 3, stride, padding=1, bias=not normed)
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        layers = [conv, *([nn.BatchNorm2d(after)] if normed else []), *([] if last else [nn.ReLU(inplace=True)])]
        super().__init__(*layers)


class ResidualBlock(nn.Module):
    """Two convolutions and a shortcut (He et al., 2015)."""

    def __init__(self, width: int, *, normed: bool) -> None:
        super().__init__()
        self.one = ConvUnit(width, width, normed=normed)
        self.two = ConvUnit(width, width, normed=normed, last=True)
        if isinstance(self.two[-1], nn.BatchNorm2d):
            nn.init.zeros_(self.two[-1].weight)  # each block begins as its shortcut (Goyal et al., 2017)

    def forward(self, values: Tensor) -> Tensor:
        """float [batch, width, height, width of the map] -> the same shape."""
        return functional.relu(values + self.two(self.one(values)))


def residual_layer(before: int, after: int, depth: int, *, normed: bool) -> nn.Sequential:
    """A convolution that halves the resolution, then `depth` residual blocks."""
    blocks = (ResidualBlock(after, normed=normed) for _ in range(depth))
    return nn.Sequential(ConvUnit(before, after, 2, normed=normed), *blocks)


@torch.no_grad()
def fold_normalisation(trained: nn.Module, plain: _Network) -> _Network:
    """Load the weights of `trained` into `plain`, the same network without normalisation, in evaluation mode.

    Its outputs differ only by rounding.
    """
    normed = copy.deepcopy(trained).eval()
    units = {name: module for name, module in normed.named_modules() if isinstance(module, ConvUnit)}
    plain.load_state_dict(_outside(normed.state_dict(), units), strict=False)
    for name, module in plain.named_modules():
        if isinstance(module, ConvUnit):
            conv, norm = units[name][0], units[name][1]
            assert isinstance(conv, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            module[0].load_state_dict(fuse_conv_bn_eval(conv, norm).state_dict())
    return plain.eval()


@torch.no_grad()
def load_folded(model: nn.Module, weights: Mapping[str, Tensor], plain: nn.Module, run: Callable[[], object]) -> None:
    """Load folded weights into the normed `model`, so that it gives the same outputs for the inputs of `run`.

    Normalisation takes the mean and variance that each channel has there, and gives them back as its factor and bias.
    Tensors that the weights lack keep their values: a new residual block adds nothing at first.

    Args:
        weights: tensors of any shape by name.
        plain: the same network without normalisation, whose state dict has the names that are allowed.
        run: runs all of `model` on some inputs.

    Raises:
        ModelError: the weights are of another model.
    """
    state = plain.state_dict()
    known = [name for name in weights if name in state and state[name].shape == weights[name].shape]
    if len(known) < len(weights) or 2 * len(known) < len(state):
        raise ModelError(
            f"--weights: {len(known)} of {len(weights)} tensors fit the detector's {len(state)}: allowed are those "
            "that `shardline train plates` wrote"
        )
    units = {name: module for name, module in model.named_modules() if isinstance(module, ConvUnit)}
    model.load_state_dict(_outside(weights, units), strict=False)
    hooks = []
    for name, module in units.items():
        if f"{name}.0.weight" in weights:
            conv, norm = module[0], module[1]
            assert isinstance(conv, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            conv.weight.copy_(weights[f"{name}.0.weight"])
            norm.bias.copy_(weights[f"{name}.0.bias"])
            hooks.append(norm.register_forward_pre_hook(_make_neutral))
    model.eval()
    run()
    for hook in hooks:
        hook.remove()


def _outside(state: Mapping[str, Tensor], units: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """The tensors of a state dict that belong to no convolution unit."""
    return {name: value for name, value in state.items() if name.rpartition(".")[0].rpartition(".")[0] not in units}


def _make_neutral(norm: nn.Module, inputs: tuple[Tensor]) -> None:
    """Normalise by this input's statistics, and undo it: only the bias is added. [batch, channels, height, width]"""
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    variance, mean = torch.var_mean(inputs[0], (0, 2, 3), correction=0)
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    norm.weight.copy_((variance + norm.eps).sqrt())
    norm.bias.add_(mean)
