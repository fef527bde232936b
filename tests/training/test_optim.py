"""Muon's step: a matrix with singular values near 1, whatever the gradient's are."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from shardline.training.optim import Muon, orthogonalise


@given(
    rows=st.integers(1, 40), columns=st.integers(1, 40), seed=st.integers(0, 100), scale=st.sampled_from((1e-6, 1, 1e4))
)
@settings(max_examples=50, deadline=None)
def test_singular_values_come_near_one(rows: int, columns: int, seed: int, scale: float) -> None:
    random = torch.Generator().manual_seed(seed)
    left, _ = torch.linalg.qr(torch.randn(rows, min(rows, columns), generator=random))
    right, _ = torch.linalg.qr(torch.randn(columns, min(rows, columns), generator=random))
    values = torch.linspace(0.05, 1, min(rows, columns)) * scale

    (found,) = orthogonalise([left * values @ right.T])

    assert found.shape == (rows, columns)
    told = torch.linalg.svdvals(found)
    assert 0.5 < float(told.min()) <= float(told.max()) < 1.3
    assert torch.allclose(found @ right @ left.T, (found @ right @ left.T).T, atol=1e-3)  # the same directions


def test_matrices_of_all_shapes_at_once_are_as_each_alone() -> None:
    random = torch.Generator().manual_seed(1)
    shapes = [(8, 72), (16, 8), (8, 72), (8, 20), (3, 3)]
    matrices = [torch.randn(shape, generator=random) for shape in shapes]

    for one, other in zip(orthogonalise(matrices), (orthogonalise([matrix])[0] for matrix in matrices), strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_a_gradient_of_zeros_moves_nothing_and_one_that_is_missing_neither() -> None:
    still, unused = nn.Parameter(torch.ones(4, 3, 3, 3)), nn.Parameter(torch.ones(4, 4))
    still.grad = torch.zeros_like(still)

    Muon([still, unused], lr=0.1).step()

    assert bool((still == 1).all())
    assert bool((unused == 1).all())


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_step_is_the_rate_in_every_direction(layout: torch.memory_format) -> None:
    weight = nn.Parameter(torch.zeros(6, 4, 3, 3).to(memory_format=layout))
    weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(2)).to(memory_format=layout)

    Muon([weight], lr=0.5).step()

    told = torch.linalg.svdvals(weight.detach().flatten(1))
    assert 0.5 * 0.6 < float(told.min()) <= float(told.max()) < 0.5 * 1.3
    assert float((weight.detach() * weight.grad).sum()) < 0


def test_weights_shrink_with_the_rate() -> None:
    weight = nn.Parameter(torch.ones(3, 3))
    weight.grad = torch.zeros(3, 3)

    Muon([weight], lr=0.1, weight_decay=0.5).step()

    assert weight.detach().flatten().tolist() == pytest.approx([0.95] * 9)
