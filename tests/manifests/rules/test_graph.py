"""Rules for InferenceGraphs."""

import copy
from typing import Any

import pytest
from services.lint_cases import GOOD, cases_of, check_case, put

from shardline.manifests.lint import lint
from shardline.manifests.rules import graph

CASES = cases_of(graph)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_broken_graph_is_reported_where_it_is(case: dict[str, Any]) -> None:
    check_case(case)


def test_a_graph_too_large_for_one_argument() -> None:
    documents = copy.deepcopy(GOOD)
    steps = [{"serviceName": f"s{index}", "dependency": "Hard"} for index in range(1200)]
    put(documents[3], ["spec", "nodes", "root", "steps"], steps)

    [problem] = [problem for problem in lint(documents) if problem.rule == "graph-argument"]

    assert problem.path == "spec"
    assert "bytes as the router's argument, Linux allows 131071" in problem.message
