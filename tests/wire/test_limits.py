"""Sizes as messages print them, and the limits that stand in documents."""

import pytest

from shardline.wire.limits import GIB, MIB, Limits, format_bytes


@pytest.mark.parametrize(
    ("count_bytes", "text"),
    [(0, "0.0 MiB"), (6 * MIB, "6.0 MiB"), (GIB - MIB, "1023.0 MiB"), (GIB, "1.0 GiB"), (3 * GIB // 2, "1.5 GiB")],
)
def test_format_bytes(count_bytes: int, text: str) -> None:
    assert format_bytes(count_bytes) == text


def test_the_limits_are_those_of_the_documentation() -> None:
    assert Limits() == Limits(request_bytes=6 * MIB, body_bytes=32 * MIB, pixels=50_000_000)
