"""Rules for a graph and the services of its steps, held against each other."""

from typing import Any

import pytest
from services.lint_cases import cases_of, check_case

from shardline.manifests.rules import chain

CASES = cases_of(chain)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_broken_chain_is_reported_where_it_is(case: dict[str, Any]) -> None:
    check_case(case)
