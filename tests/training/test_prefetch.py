"""Prefetched batches arrive in order, whatever the number of processes, and an error reaches the training."""

import os

import pytest

from shardline.training.prefetch import prefetch


def draw(number: int) -> tuple[int, int]:
    """The square of a number, and the process that computed it."""
    if number == 99:
        raise ValueError("99 cannot be drawn")
    return number * number, os.getpid()


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_arrive_in_order(workers: int) -> None:
    with prefetch(draw, 3, 20, workers) as batches:
        found = list(batches)

    assert [square for square, _ in found] == [number * number for number in range(3, 20)]
    assert (os.getpid() in {process for _, process in found}) == (workers == 0)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_reaches_the_caller(workers: int) -> None:
    with pytest.raises(ValueError, match="99 cannot be drawn"), prefetch(draw, 98, 120, workers) as batches:
        list(batches)
