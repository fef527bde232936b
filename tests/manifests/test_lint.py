"""Lint as a whole: what it reads, what it says of good documents, and that no document makes it fail."""

import copy
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from services.lint_cases import GOOD

from shardline.manifests.lint import Problem, Severity, check, lint, lint_files
from shardline.manifests.options import RenderOptions
from shardline.manifests.render import render
from shardline.storage.bundle import Bundle
from shardline.wire.errors import ManifestError

ROOT = Path(__file__).parents[2]
BAD_GRAPH = {
    "apiVersion": "serving.kserve.io/v1alpha1",
    "kind": "InferenceGraph",
    "metadata": {"name": "net", "annotations": {"serving.kserve.io/deploymentMode": "Standard"}},
    "spec": {"nodes": {"root": {"routerType": "Chain", "steps": []}}},
}
BAD_LINES = [
    "InferenceGraph net: spec.nodes.root.routerType: found 'Chain', allowed is Sequence, Splitter, Ensemble, Switch",
    "InferenceGraph net: spec.nodes.root.steps: node 'root' has no steps, and the router fails on it: give it one",
]

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates() | st.binary(max_size=4)
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6) | st.integers(), inner, max_size=3),
)
KINDS = sorted({str(document["kind"]) for document in GOOD} | {"Ingress", "Secret", "List", "HTTPRoute"})


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of everything within a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(inner_path for name, item in inner for inner_path in paths(item, (*path, name)))]


PATHS = [path for path in paths(GOOD) if path]


@pytest.mark.parametrize("stages", [1, 3])
def test_what_render_gives_has_no_problem(make_bundle: Callable[..., Bundle], stages: int) -> None:
    assert lint(render(make_bundle(stages=stages), RenderOptions(storage="gs://bucket/resnet50"))) == []


def test_the_committed_manifests_have_no_problem() -> None:
    report = lint_files([path.parent for path in (ROOT / "manifests").glob("*/bundle.json")])

    assert report.problems == ()
    assert report.documents > 4


@settings(max_examples=200, deadline=None)
@example([{"kind": "\n"}])
@example([{"apiVersion": "v1", "kind": "Secret\r\x85\u2028", "metadata": {"name": "a\nb"}, "\n": 1}])
@given(st.lists(anything | st.dictionaries(st.sampled_from(["kind", "spec", "metadata"]), anything), max_size=4))
def test_any_documents_give_problems_or_none(found: list[Any]) -> None:
    assert all(isinstance(problem, Problem) and str(problem).isprintable() for problem in lint(found))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PATHS), anything), min_size=1, max_size=3))
def test_a_chain_with_anything_anywhere_gives_problems_or_none(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    changed: Any = copy.deepcopy(GOOD)
    for path, value in changes:
        place = changed
        for step in path[:-1]:
            place = place[step] if isinstance(place, dict) and step in place else changed
            place = place if isinstance(place, dict | list) else changed
        if isinstance(place, dict) or (isinstance(path[-1], int) and path[-1] < len(place)):
            place[path[-1]] = value

    assert all(isinstance(problem, Problem) for problem in lint(changed))


def test_the_members_of_a_list_are_documents() -> None:
    [problem, *_] = lint([{"apiVersion": "v1", "kind": "List", "items": [BAD_GRAPH]}])

    assert problem.where == "InferenceGraph net: spec.nodes.root.routerType"


def test_errors_are_raised_together_and_warnings_come_back() -> None:
    with pytest.raises(ManifestError) as raised:
        check([BAD_GRAPH])
    soft = copy.deepcopy(GOOD)
    soft[3]["spec"]["nodes"]["root"]["steps"][0]["dependency"] = "Soft"

    assert str(raised.value).splitlines() == ["a cluster would not run these documents, 2 errors:", *BAD_LINES]
    assert [(problem.severity, problem.rule) for problem in check(soft)] == [(Severity.WARNING, "graph-soft")]


def run_lint(*args: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "shardline", "lint", *map(str, args)]
    environment = {**os.environ, "NO_COLOR": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False, input=stdin, env=environment
    )


@pytest.mark.slow
def test_the_command_prints_a_line_for_each_problem_and_fails_on_errors() -> None:
    done = run_lint("-", stdin=yaml.safe_dump(BAD_GRAPH))

    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        f"error -: {BAD_LINES[0]} (typed-model)",
        f"error -: {BAD_LINES[1]} (graph-empty-node)",
        "1 document in 1 file: 2 errors, 0 warnings",
    ]
    assert done.stderr == ""


@pytest.mark.slow
def test_warnings_fail_only_when_strict() -> None:
    soft = copy.deepcopy(GOOD)
    del soft[3]["metadata"]["annotations"]
    text = yaml.safe_dump_all(soft)

    lax, strict = run_lint("-", stdin=text), run_lint("-", "--strict", stdin=text)

    assert (lax.returncode, strict.returncode) == (0, 1)
    assert lax.stdout == strict.stdout
    assert (
        "warning -: InferenceGraph net: metadata.annotations[serving.kserve.io/deploymentMode]: found none"
        in lax.stdout
    )
