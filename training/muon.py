"""Muon: momentum whose matrix is made orthogonal before it is a step, for the weights between features.

Each direction of a weight then moves as far as any other, also those that the gradient hardly names; a network that is
trained from nothing learns from a fraction of the pictures (Jordan et al., "Muon: An optimizer for hidden layers in
neural networks", 2024). `torch.optim.Muon` takes only parameters of two dimensions and multiplies in bf16, for which
most CPUs have no instructions. Here convolutions are taken as they are, in their own precision, and matrices with as
many rows are made orthogonal together: on a CPU many small products cost more than a few large ones.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.optimizer import ParamsT

_A, _B, _C = 3.4445, -4.7750, 2.0315  # Jordan's quintic: singular values come between 0.7 and 1.2 within five rounds
_ROUNDS = 5
_LEAST = 1e-12  # of a squared length: a gradient of nothing but zeros stays so


class Muon(torch.optim.Optimizer):
    """For weights of two dimensions or more, [rows, …]: all but the first are taken as one."""

    def __init__(self, weights: ParamsT, *, lr: float, momentum: float = 0.95, weight_decay: float = 0.0) -> None:
        super().__init__(weights, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002  # torch's signature
        """Move each weight by `lr` in every direction, after it has shrunk by `lr` × `weight_decay`."""
        for group in self.param_groups:
            moved = [weight for weight in group["params"] if weight.grad is not None]
            matrices = [self._ahead(weight, group["momentum"]).flatten(1) for weight in moved]
            for weight, matrix in zip(moved, orthogonal(matrices), strict=True):
                length = max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(matrix.view_as(weight), alpha=-group["lr"] * length)

    def _ahead(self, weight: nn.Parameter, momentum: float) -> Tensor:
        """The gradient's running mean as it would be after one more such gradient (Nesterov)."""
        assert weight.grad is not None
        state = self.state[weight]
        if not state:
            state["mean"] = torch.zeros_like(weight)
        mean: Tensor = state["mean"].lerp_(weight.grad, 1 - momentum)
        return weight.grad.lerp(mean, momentum)


def orthogonal(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Each matrix [rows, columns] with its singular values brought near to 1, by Newton and Schulz's iteration.

    A polynomial of M Mᵀ times M: all rounds but the last product are done on the squares.
    """
    lying = [each if each.shape[0] <= each.shape[1] else each.T for each in matrices]
    found = list(lying)
    for rows in {each.shape[0] for each in lying}:
        same = [at for at, each in enumerate(lying) if each.shape[0] == rows]
        squares = torch.stack([lying[at] @ lying[at].T for at in same])
        lengths = squares.diagonal(dim1=1, dim2=2).sum(1).clamp(min=_LEAST)
        factors = _factors(squares / lengths.view(-1, 1, 1)) / lengths.sqrt().view(-1, 1, 1)
        for at, factor in zip(same, factors, strict=True):
            found[at] = factor @ lying[at]
    return [each if each.shape == matrix.shape else each.T for each, matrix in zip(found, matrices, strict=True)]


def _factors(squares: Tensor) -> Tensor:
    """Of each M Mᵀ, [n, rows, rows], what M is to be multiplied with."""
    product = torch.eye(squares.shape[1], dtype=squares.dtype, device=squares.device).expand_as(squares)
    for _ in range(_ROUNDS):
        once = torch.baddbmm(squares, squares, squares, beta=_B, alpha=_C)
        once.diagonal(dim1=1, dim2=2).add_(_A)
        product, squares = once @ product, once @ squares @ once
    return product
