"""The options of `render`, and combinations that are refused."""

import pytest

from shardline.manifests.options import Overrides, parse_overrides
from shardline.wire.errors import UsageError


def test_a_quantity_is_for_all_parts_or_for_one() -> None:
    parsed = parse_overrides(cpu_requests=["router=50m", "100m"], memory_limits=["stages=3Gi"])

    assert parsed == {
        "stages": Overrides(cpu_request_m=100, memory_limit_mib=3072),
        "transformer": Overrides(cpu_request_m=100),
        "router": Overrides(cpu_request_m=50),
    }


def test_a_part_that_no_chain_has() -> None:
    with pytest.raises(UsageError, match="the parts of a chain are stages, transformer, router"):
        parse_overrides(cpu_limits=["stage0=1"])
