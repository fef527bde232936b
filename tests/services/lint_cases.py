"""Cases of lint's rules: tests/manifests/bad/good.yaml, made worse in one place each."""

import copy
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from shardline.manifests.lint import Problem, lint
from shardline.manifests.rules.rule import rules_of

BAD = Path(__file__).parents[1] / "manifests" / "bad"
GOOD: list[dict[str, Any]] = list(yaml.safe_load_all((BAD / "good.yaml").read_text()))
CASES: list[dict[str, Any]] = [
    case for path in sorted(BAD.glob("*.yaml")) if path.name != "good.yaml" for case in yaml.safe_load(path.read_text())
]


def cases_of(module: ModuleType) -> dict[str, dict[str, Any]]:
    """The cases of a module's rules, by a readable name."""
    return _named({rule.id for rule in rules_of(module)})


def cases_named(*rules: str) -> dict[str, dict[str, Any]]:
    """The cases of rules, by a readable name."""
    return _named(set(rules))


def _named(rules: set[str]) -> dict[str, dict[str, Any]]:
    chosen = [case for case in CASES if case["rule"] in rules]
    return {f"{case['rule']}-{case['at']}-{index}": case for index, case in enumerate(chosen)}


def check_case(case: dict[str, Any]) -> None:
    """Assert that lint reports the case's problem at its path, and no problem of another rule."""
    problems = lint(worse(case))

    found = [problem for problem in problems if (problem.rule, problem.path) == (case["rule"], case["at"])]
    assert [problem for problem in found if problem.message.startswith(case["says"])], listing(problems)
    assert {problem.severity for problem in found} == {case.get("severity", "error")}
    assert {problem.rule for problem in problems} <= {case["rule"], *case.get("also", ())}, listing(problems)


def worse(case: dict[str, Any]) -> list[Any]:
    """The good documents with what the case sets, and the one that it adds."""
    documents = copy.deepcopy(GOOD)
    for label, changes in case.get("set", {}).items():
        [document] = [
            found for found in documents if f"{found['kind']} {found.get('metadata', {}).get('name')}" == label
        ]
        for steps, value in changes.items():
            put(document, steps.split(), value)
    return documents + ([case["add"]] if "add" in case else [])


def put(document: Any, steps: list[str], value: Any) -> None:
    """Set a value: `spec nodes root steps 1 data` -> document["spec"]["nodes"]["root"]["steps"][1]["data"]."""
    for step in steps[:-1]:
        document = document[int(step)] if isinstance(document, list) else document.setdefault(step, {})
    if isinstance(document, list) and int(steps[-1]) == len(document):
        document.append(value)
    elif isinstance(document, list):
        document[int(steps[-1])] = value
    else:
        document[steps[-1]] = value


def listing(problems: Iterable[Problem]) -> str:
    """One line per problem, with its rule."""
    return "\n".join(f"{problem.rule}: {problem}" for problem in problems)
