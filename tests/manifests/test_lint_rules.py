"""Every rule of lint, by documents that break it: bad/good.yaml made worse in one place."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from shardline.manifests.lint import MODEL, RULES, Problem, lint

BAD = Path(__file__).parent / "bad"
GOOD = list(yaml.safe_load_all((BAD / "good.yaml").read_text()))
CASES: list[dict[str, Any]] = [
    case for path in sorted(BAD.glob("*.yaml")) if path.name != "good.yaml" for case in yaml.safe_load(path.read_text())
]


def worse(case: dict[str, Any]) -> list[Any]:
    """The good documents with what the case sets, and the one that it adds."""
    documents = copy.deepcopy(GOOD)
    for label, changes in case.get("set", {}).items():
        [document] = [each for each in documents if f"{each['kind']} {each.get('metadata', {}).get('name')}" == label]
        for steps, value in changes.items():
            put(document, steps.split(), value)
    return documents + ([case["add"]] if "add" in case else [])


def put(document: Any, steps: list[str], value: Any) -> None:
    """`spec nodes root steps 1 data` -> document["spec"]["nodes"]["root"]["steps"][1]["data"]."""
    for step in steps[:-1]:
        document = document[int(step)] if isinstance(document, list) else document.setdefault(step, {})
    if isinstance(document, list) and int(steps[-1]) == len(document):
        document.append(value)
    elif isinstance(document, list):
        document[int(steps[-1])] = value
    else:
        document[steps[-1]] = value


def test_the_good_documents_have_no_problem() -> None:
    assert lint(GOOD) == []


def test_every_rule_has_a_case() -> None:
    assert {rule.id for rule in RULES} - {case["rule"] for case in CASES} == {"graph-argument"}


@pytest.mark.parametrize("case", CASES, ids=[f"{case['rule']}-{case['at']}" for case in CASES])
def test_a_bad_document_is_told_where_and_why(case: dict[str, Any]) -> None:
    problems = lint(worse(case))

    found = [each for each in problems if each.rule == case["rule"] and each.path == case["at"]]
    assert [each for each in found if each.message.startswith(case["says"])], listing(problems)
    assert {each.severity for each in found} == {case.get("severity", "error")}
    assert {each.rule for each in problems} <= {case["rule"], *case.get("also", ())}, listing(problems)


def test_a_graph_too_large_for_one_argument() -> None:
    documents = copy.deepcopy(GOOD)
    steps = [{"serviceName": f"s{index}", "dependency": "Hard"} for index in range(1200)]
    put(documents[3], ["spec", "nodes", "root", "steps"], steps)

    [problem] = [each for each in lint(documents) if each.rule == "graph-argument"]

    assert problem.path == "spec"
    assert "bytes as the router's argument, Linux allows 131071" in problem.message


def test_rule_names_are_unique() -> None:
    names = [rule.id for rule in RULES]

    assert len(names) == len({*names, MODEL}) - 1
    assert all(rule.summary.endswith(".") for rule in RULES)


def listing(problems: list[Problem]) -> str:
    return "\n".join(f"{each.rule}: {each}" for each in problems)
