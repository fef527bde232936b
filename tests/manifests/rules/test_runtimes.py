"""Rules for ServingRuntimes, and the runtime that a model names."""

from typing import Any

import pytest
from services.lint_cases import cases_of, check_case

from shardline.manifests.rules import runtimes

CASES = cases_of(runtimes)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_broken_runtime_is_reported_where_it_is(case: dict[str, Any]) -> None:
    check_case(case)
