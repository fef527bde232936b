"""A trained detector without its normalisation, which has become part of the convolutions: the same, and faster."""

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from training.detector.model import PlateDetector, Unit


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
