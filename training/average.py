"""Weights averaged over the steps of a training: steadier than any step's own, and better (Polyak; Izmailov et al.)."""

import copy

import torch
from torch import nn


class Average:
    """An exponential mean of a model's weights and of its running statistics. `module` is the averaged model."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(model).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """After step number `step`. The first steps are forgotten sooner: they know nothing."""
        share = 1 - min(self._decay, (1 + step) / (10 + step))
        for kept, new in zip(self.module.state_dict().values(), model.state_dict().values(), strict=True):
            if kept.is_floating_point():
                kept.lerp_(new, share)
            else:
                kept.copy_(new)
