"""Optimisation: learning-rate schedule, AdamW, Muon for convolutions, and averaged weights (EMA).

Muon replaces the momentum matrix of a weight by the nearest orthogonal one before it becomes a step. Every direction of
the weight then moves equally far, including those in which the gradient is small, and a network that is trained from
scratch needs a fraction of the pictures (Jordan et al., "Muon: An optimizer for hidden layers in neural networks",
2024). `torch.optim.Muon` accepts only parameters of two dimensions and multiplies in bf16, for which most CPUs have no
instructions. Here convolutions are taken as they are, in their own precision, and matrices with the same number of rows
are orthogonalised together: on a CPU many small products cost more than a few large ones.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.optimizer import ParamsT

_FINAL_RATE = 0.01  # learning rate at the end, as a share of the highest
_A, _B, _C = 3.4445, -4.7750, 2.0315  # Jordan's quintic: singular values come between 0.7 and 1.2 within five rounds
_ROUNDS = 5
_EPSILON = 1e-12  # of a squared norm: a gradient that is zero everywhere stays zero


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """Hyperparameters that all trainings have in common."""

    rate: float = 4e-3  # highest learning rate of AdamW
    muon: float = 25.0  # learning rate of Muon, as a multiple of AdamW's
    decay: float = 0.02  # weight decay, decoupled as in AdamW
    warm_up: int = 100  # steps
    clip: float = 5.0  # largest norm of the gradient
    averaging: float = 0.04  # share of the steps that the averaged weights reach back over
    score_every: int = 1000  # steps between evaluations
    patience: int = 0  # early stopping: evaluations without improvement before training stops; 0: never


def learning_rate(settings: TrainingSettings, step: int, steps: int) -> float:
    """AdamW's learning rate at a step: a linear warm-up, then half a cosine."""
    if step < settings.warm_up:
        return settings.rate * (step + 1) / settings.warm_up
    done = (step - settings.warm_up) / max(1, steps - settings.warm_up)
    return settings.rate * (_FINAL_RATE + (1 - _FINAL_RATE) * (1 + math.cos(math.pi * done)) / 2)


def make_optimisers(
    model: nn.Module, matrices: Sequence[nn.Parameter], settings: TrainingSettings
) -> list[torch.optim.Optimizer]:
    """AdamW, and Muon for the weights `matrices` [rows, ...] of the model.

    Each parameter group has `share`, its learning rate as a multiple of the schedule's. Biases and the factors of
    normalisation do not decay: no value of theirs is too large.
    """
    by_muon = {id(weight) for weight in matrices}
    others = [weight for weight in model.parameters() if id(weight) not in by_muon]
    groups = [
        {"params": [weight for weight in others if weight.dim() > 1], "weight_decay": settings.decay, "share": 1.0},
        {"params": [weight for weight in others if weight.dim() <= 1], "weight_decay": 0.0, "share": 1.0},
    ]
    optimisers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=settings.rate, foreach=True)]
    if matrices:
        group = {"params": list(matrices), "share": settings.muon}
        optimisers.append(Muon([group], lr=settings.rate * settings.muon, weight_decay=settings.decay))
    return optimisers


class EMA:
    """Exponential moving average of a model's weights and running statistics; `module` is the averaged model.

    Averaged weights are steadier than those of any single step, and better (Polyak; Izmailov et al., 2018).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(model).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Average in the weights after step number `step`. The decay is smaller at first, to forget random weights."""
        share = 1 - min(self._decay, (1 + step) / (10 + step))
        for kept, new in zip(self.module.state_dict().values(), model.state_dict().values(), strict=True):
            if kept.is_floating_point():
                kept.lerp_(new, share)
            else:
                kept.copy_(new)


class Muon(torch.optim.Optimizer):
    """Muon for weights of two dimensions or more, [rows, ...]: all dimensions but the first count as one."""

    def __init__(self, weights: ParamsT, *, lr: float, momentum: float = 0.95, weight_decay: float = 0.0) -> None:
        super().__init__(weights, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002  # torch's signature
        """Shrink each weight by `lr` × `weight_decay`, then move it by `lr` in every direction."""
        for group in self.param_groups:
            moved = [weight for weight in group["params"] if weight.grad is not None]
            matrices = [self._momentum(weight, group["momentum"]).flatten(1) for weight in moved]
            for weight, matrix in zip(moved, orthogonalise(matrices), strict=True):
                length = max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(matrix.view_as(weight), alpha=-group["lr"] * length)

    def _momentum(self, weight: nn.Parameter, momentum: float) -> Tensor:
        """Nesterov momentum: the running mean of the gradient as it would be after one more such gradient."""
        assert weight.grad is not None
        state = self.state[weight]
        if not state:
            state["mean"] = torch.zeros_like(weight)
        mean: Tensor = state["mean"].lerp_(weight.grad, 1 - momentum)
        return weight.grad.lerp(mean, momentum)


def orthogonalise(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Bring the singular values of each matrix, float [rows, columns], near 1, by Newton and Schulz's iteration.

    The result is a polynomial of M Mᵀ times M: all rounds but the last product work on the small squares M Mᵀ.
    """
    wide = [matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T for matrix in matrices]
    found = list(wide)
    for rows in {matrix.shape[0] for matrix in wide}:
        same = [index for index, matrix in enumerate(wide) if matrix.shape[0] == rows]
        squares = torch.stack([wide[index] @ wide[index].T for index in same])  # [n, rows, rows]
        norms = squares.diagonal(dim1=1, dim2=2).sum(1).clamp(min=_EPSILON)
        factors = _factors(squares / norms.view(-1, 1, 1)) / norms.sqrt().view(-1, 1, 1)
        for index, factor in zip(same, factors, strict=True):
            found[index] = factor @ wide[index]
    return [value if value.shape == matrix.shape else value.T for value, matrix in zip(found, matrices, strict=True)]


def _factors(squares: Tensor) -> Tensor:
    """The factor by which M is multiplied, for each square M Mᵀ: [n, rows, rows] -> [n, rows, rows]."""
    product = torch.eye(squares.shape[1], dtype=squares.dtype, device=squares.device).expand_as(squares)
    for _ in range(_ROUNDS):
        once = torch.baddbmm(squares, squares, squares, beta=_B, alpha=_C)
        once.diagonal(dim1=1, dim2=2).add_(_A)
        product, squares = once @ product, once @ squares @ once
    return product
