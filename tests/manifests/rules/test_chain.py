"""Rules for a graph and the services of its steps, held against each other."""

from collections.abc import Callable
from typing import Any

import pytest
from services.lint_cases import cases_of, check_case

from shardline.manifests.lint import lint
from shardline.manifests.options import RenderOptions
from shardline.manifests.render import render
from shardline.manifests.rules import chain
from shardline.storage.bundle import Bundle

CASES = cases_of(chain)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_broken_chain_is_reported_where_it_is(case: dict[str, Any]) -> None:
    check_case(case)


@pytest.mark.parametrize(("dropped", "missing"), [(0, "net-pre"), (-1, "net-2")])
def test_a_dropped_first_or_last_step_is_found(dropped: int, missing: str, make_bundle: Callable[..., Bundle]) -> None:
    documents = render(make_bundle(stages=3, name="net"), RenderOptions(storage="gs://b/m"))
    graph = next(document for document in documents if document["kind"] == "InferenceGraph")
    assert [problem for problem in lint(documents) if problem.severity == "error"] == []

    del graph["spec"]["nodes"]["root"]["steps"][dropped]

    assert f"no step calls {missing} of the same chain and bundle: add a step for each" in [
        problem.message for problem in lint(documents)
    ]


def test_a_version_that_the_graph_no_longer_calls_is_none_of_its_steps(make_bundle: Callable[..., Bundle]) -> None:
    old, new = (
        render(make_bundle(stages=2, name="net", threads=threads), RenderOptions(storage="gs://b/m", versioned=True))
        for threads in (1, 2)
    )
    services = [document for document in old if document["kind"] == "InferenceService"]

    assert [problem.rule for problem in lint([*new, *services]) if problem.rule == "called-services"] == []
