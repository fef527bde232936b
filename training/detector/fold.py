"""A trained detector without its normalisation, which has become part of the convolutions: the same, and faster.

And the way back, for a training that begins with such weights.
"""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from training.detector.layers import Unit
from training.detector.model import PlateDetector
from wire.errors import ModelError


@torch.no_grad()
def fold(model: PlateDetector) -> PlateDetector:
    """`model` (normed) as the detector that ships, in evaluation mode. Its outputs differ by rounding alone."""
    folded = PlateDetector().eval()
    trained = dict(copy.deepcopy(model).eval().named_modules())
    for name, module in folded.named_modules():
        before = trained.get(name)
        if isinstance(module, Unit) and isinstance(before, Unit):
            conv, norm = before[0], before[1]
            assert isinstance(conv, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            module[0].load_state_dict(fuse_conv_bn_eval(conv, norm).state_dict())
        elif isinstance(module, nn.Conv2d) and isinstance(before, nn.Conv2d) and before.bias is not None:
            module.load_state_dict(before.state_dict())
    return folded


@torch.no_grad()
def begin_with(model: PlateDetector, weights: Mapping[str, Tensor], pictures: Tensor, looks: Tensor) -> None:
    """Give `model` (normed) the weights of a folded detector; on these pictures it then says what that one says.

    Normalisation takes from each channel the mean and spread that the pictures have there, and gives it back. What the
    weights lack stays as it is: a block that is new adds nothing at first.

    Args:
        pictures: normalised, float32 [batch, 3, height, width].
        looks: what the reader sees of their characters, [m, 3, 32, 32].

    Raises:
        ModelError: the weights are of another model.
    """
    state = PlateDetector().state_dict()
    known = [name for name in weights if name in state and state[name].shape == weights[name].shape]
    if len(known) < len(weights) or 2 * len(known) < len(state):
        raise ModelError(
            f"--weights: {len(known)} of {len(weights)} tensors fit the detector's {len(state)}: allowed are those "
            "that `shardline train plates` wrote"
        )
    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, Unit) and f"{name}.0.weight" in weights:
            conv, norm = module[0], module[1]
            assert isinstance(conv, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            conv.weight.copy_(weights[f"{name}.0.weight"])
            norm.bias.copy_(weights[f"{name}.0.bias"])
            hooks.append(norm.register_forward_pre_hook(_measured))
        elif isinstance(module, nn.Conv2d) and module.bias is not None and f"{name}.weight" in weights:
            module.weight.copy_(weights[f"{name}.weight"])
            module.bias.copy_(weights[f"{name}.bias"])
    model.eval()
    model.maps(pictures)
    model.reader.said(looks)
    for hook in hooks:
        hook.remove()


def _measured(norm: nn.Module, inputs: tuple[Tensor]) -> None:
    """Normalise by what comes in, and undo it: what goes out is what came in, with the bias that `norm` has."""
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    variance, mean = torch.var_mean(inputs[0], (0, 2, 3), correction=0)
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    norm.weight.copy_((variance + norm.eps).sqrt())
    norm.bias.add_(mean)
