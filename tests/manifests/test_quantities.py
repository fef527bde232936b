"""Sizes and amounts of CPU in Kubernetes' notation."""

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardline.manifests.quantities import format_cpu, parse_bytes, parse_cpu, parse_memory, parse_quantity
from shardline.wire.errors import UsageError
from shardline.wire.limits import GIB, MIB


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("1500m", "1.5"),
        ("2Gi", str(2 * GIB)),
        ("2G", "2000000000"),
        (2, "2"),
        (0.5, "0.5"),
        ("1e3", "1000"),
        (".5", "0.5"),
    ],
)
def test_quantities_of_a_document(value: object, number: str) -> None:
    assert parse_quantity(value) == Decimal(number)


@pytest.mark.parametrize("value", ["", "1 Gi", "1_0", "nan", "1K", "1GB", "Gi", True, None, [1], 2**63, "--1"])
def test_what_the_api_server_refuses(value: object) -> None:
    assert parse_quantity(value) is None


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("6Mi", 6 * MIB),
        ("2Gi", 2 * GIB),
        ("2G", 2_000_000_000),
        ("100", 100),
        ("1.5k", 1500),
        (" 1Ki", 1024),
        ("1m", 1),
    ],
)
def test_sizes_of_the_command_line(text: str, size_bytes: int) -> None:
    assert parse_bytes(text, "--limit") == size_bytes


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("6MB", "6Mi"),
        ("1.5g", "1.5Gi"),
        ("512 KB", "512Ki"),
        ("much", "6Mi, 512Mi or 2Gi"),
        ("0", "6Mi"),
        ("-1Mi", "6Mi"),
    ],
)
def test_a_size_of_another_notation(text: str, advice: str) -> None:
    with pytest.raises(
        UsageError, match=f"^--limit '{text}' is not a size: write it as Kubernetes does, e.g. {advice}"
    ):
        parse_bytes(text, "--limit")


@pytest.mark.parametrize(("text", "thousandths"), [("100m", 100), ("2", 2000), ("0.5", 500), ("1.0001", 1001)])
def test_cpu(text: str, thousandths: int) -> None:
    assert parse_cpu(text) == thousandths


@pytest.mark.parametrize(
    ("text", "mebibytes"),
    [("512Mi", 512), ("2Gi", 2048), ("1.5Gi", 1536), ("900M", 859), ("1048576", 1), ("2Ti", 2**21)],
)
def test_memory(text: str, mebibytes: int) -> None:
    assert parse_memory(text) == mebibytes


@given(thousandths=st.integers(1, 10**6))
def test_what_is_written_is_read_back(thousandths: int) -> None:
    assert parse_cpu(format_cpu(thousandths)) == thousandths


@pytest.mark.parametrize("text", ["", "m", "-1", "0", "0m", "nan", "1.5 m"])
def test_what_is_no_cpu(text: str) -> None:
    with pytest.raises(UsageError, match=f"{re.escape(repr(text))} is not an amount of CPU: write it as 500m or 2"):
        parse_cpu(text)


@pytest.mark.parametrize("text", ["", "Gi", "-1Gi", "0", "64", "1GB", "1 Gi"])
def test_what_is_no_memory(text: str) -> None:
    with pytest.raises(UsageError, match="is not an amount of memory for a process: write it as "):
        parse_memory(text)
