"""Quantities as users write them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardline.manifests.quantities import parse_cpu, parse_memory, parse_overrides
from shardline.manifests.sizing import Compute, Overrides
from shardline.wire.errors import ManifestError


@pytest.mark.parametrize(("text", "thousandths"), [("100m", 100), ("2", 2000), ("0.5", 500), ("1.0001", 1001)])
def test_cpu(text: str, thousandths: int) -> None:
    assert parse_cpu(text) == thousandths


@pytest.mark.parametrize(
    ("text", "mebibytes"),
    [("512Mi", 512), ("2Gi", 2048), ("1.5Gi", 1536), ("900M", 859), ("1048576", 1), ("2Ti", 2**21)],
)
def test_memory(text: str, mebibytes: int) -> None:
    assert parse_memory(text) == mebibytes


@given(cpu=st.integers(1, 10**6), memory=st.integers(1, 10**6))
def test_what_is_written_is_read_back(cpu: int, memory: int) -> None:
    compute = Compute(cpu_request_m=cpu, cpu_limit_m=cpu, memory_request_mib=memory, memory_limit_mib=memory)
    limits = compute.to_resources()["limits"]

    assert (parse_cpu(limits["cpu"]), parse_memory(limits["memory"])) == (cpu, memory)


@pytest.mark.parametrize("text", ["", "m", "-1", "1k", "0", "0m", "1e3", "nan", "1.5m"])
def test_what_is_no_cpu(text: str) -> None:
    with pytest.raises(ManifestError, match=f"{re.escape(repr(text))} is no amount of CPU: write it as 500m or 2"):
        parse_cpu(text)


@pytest.mark.parametrize("text", ["", "Gi", "-1Gi", "1Pi", "0", "64", "1GB", "1 Gi"])
def test_what_is_no_memory(text: str) -> None:
    with pytest.raises(ManifestError, match="is no amount of memory for a process: write it as 512Mi or 2Gi"):
        parse_memory(text)


def test_a_quantity_is_for_all_parts_or_for_one() -> None:
    parsed = parse_overrides(cpu_requests=["router=50m", "100m"], memory_limits=["stages=3Gi"])

    assert parsed == {
        "stages": Overrides(cpu_request_m=100, memory_limit_mib=3072),
        "transformer": Overrides(cpu_request_m=100),
        "router": Overrides(cpu_request_m=50),
    }


def test_parts_that_a_chain_has_not() -> None:
    with pytest.raises(ManifestError, match="a chain's parts are stages, transformer, router"):
        parse_overrides(cpu_limits=["stage0=1"])
