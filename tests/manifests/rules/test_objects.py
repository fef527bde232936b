"""Rules for names, labels and other objects beside a chain."""

from typing import Any

import pytest
from services.lint_cases import cases_of, check_case

from shardline.manifests.rules import objects

CASES = cases_of(objects)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_broken_object_is_reported_where_it_is(case: dict[str, Any]) -> None:
    check_case(case)
