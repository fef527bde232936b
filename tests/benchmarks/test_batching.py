"""Costs of the queue without a model."""

import asyncio

from benchmarks.batching import CLIENTS, hand_over_us, line_us, worker_us


def test_each_part_takes_time() -> None:
    assert line_us(64) > 0
    assert asyncio.run(hand_over_us(64)) > 0
    assert asyncio.run(worker_us(64, clients=1)) > 0
    assert asyncio.run(worker_us(64, clients=CLIENTS)) > 0
