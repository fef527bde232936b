"""Rules for replicas and autoscalers."""

from typing import Any

import pytest
from services.lint_cases import cases_of, check_case

from shardline.manifests.rules import scaling

CASES = cases_of(scaling)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_broken_scaling_is_reported_where_it_is(case: dict[str, Any]) -> None:
    check_case(case)
