"""Rules for InferenceServices and their storage URIs."""

from typing import Any

import pytest
from services.lint_cases import cases_of, check_case

from shardline.manifests.rules import service

CASES = cases_of(service)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_broken_service_is_reported_where_it_is(case: dict[str, Any]) -> None:
    check_case(case)
