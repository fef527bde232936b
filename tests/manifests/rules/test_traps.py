"""Rules for what every webhook accepts and what then fails."""

from typing import Any

import pytest
from services.lint_cases import cases_of, check_case

from shardline.manifests.rules import traps

CASES = cases_of(traps)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_trap_is_reported_where_it_is(case: dict[str, Any]) -> None:
    check_case(case)
