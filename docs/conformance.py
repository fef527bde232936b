"""Write conformance.md: run the suite of tests/conformance/ against both routers, and list each case with its result.

    SHARDLINE_KSERVE_ROUTER=/path/to/router python docs/conformance.py

A case is a test of the suite that takes the fixture `router`. Its docstring says what is asserted, and a last line
"KServe: …" names the test of KServe that it repeats. tests/policy/test_conformance.py compares the page with the suite;
only a run can update the results.
"""

import ast
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from shardline.manifests.graph import parse_spec
from shardline.wire.errors import ManifestError

ROOT = Path(__file__).resolve().parents[1]
SUITE = Path("tests/conformance")
PAGE = ROOT / "docs" / "conformance.md"
KSERVE = "v0.20.0"  # what SHARDLINE_KSERVE_ROUTER is built from

_ROUTER = re.compile(r"[\[-](local|kserve)[-\]]")
_ROW = re.compile(r"\| `(?P<name>test_\w+)` .* \| (?P<local>[^|]*) \| (?P<kserve>[^|]*) \|")

_HEAD = """\
# Conformance

`shardline up` runs a graph with a router of its own where KServe's binary is not available
([ADR 9](adr/0009-a-stand-in-for-the-router.md)). This local router must behave exactly like the one in a cluster. One
suite tests both as processes, over HTTP. `docs/conformance.py` ran it and wrote this page:

```sh
SHARDLINE_KSERVE_ROUTER=/path/to/router python docs/conformance.py
```

KServe's router is `cmd/router` of {version}; it listens on port 8080, which must be free. Without the variable its half
of the suite is skipped. {figures}

A number in brackets is the number of inputs of one case. Where KServe has a test for the case, it is named: tests of
the router are in `cmd/router/main_test.go`, tests of graphs in `test/e2e/graph/test_inference_graph.py`. KServe's two
tests of raw mode check Kubernetes objects and send no request through a router, so they have no case here.
"""

_REFUSED = """
## Graphs that the local router refuses

The local router runs every kind of node. A `condition` is a path in [GJSON](https://github.com/tidwall/gjson); names,
indexes of lists, `#(name op value)` and a leading `[@this]` are supported. Other paths are refused when the router
starts, and so are graphs on which KServe's router would fail at the first request. Each ends with one line and exit
code 1:

| graph | line |
|---|---|
"""

_X: Mapping[str, Any] = {"serviceUrl": "http://x"}
_REFUSED_NODES: Mapping[str, Mapping[str, Any]] = {
    "a count as condition": {"root": {"routerType": "Switch", "steps": [{**_X, "condition": "predictions.#"}]}},
    "a modifier as condition": {"root": {"routerType": "Switch", "steps": [{**_X, "condition": "a.@reverse"}]}},
    "a pattern as condition": {"root": {"routerType": "Switch", "steps": [{**_X, "condition": 'a.#(b%"c*")'}]}},
    "a Switch's step without a condition": {"root": {"routerType": "Switch", "steps": [_X]}},
    "a Splitter's step without a weight": {"root": {"routerType": "Splitter", "steps": [_X]}},
    "a node without steps": {"root": {"routerType": "Sequence", "steps": []}},
    "a node that is not there": {"root": {"routerType": "Sequence", "steps": [{"nodeName": "other"}]}},
    "a node that leads to itself": {"root": {"routerType": "Sequence", "steps": [{"nodeName": "root"}]}},
    "a step without a URL": {"root": {"routerType": "Sequence", "steps": [{"serviceName": "s"}]}},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    name: str
    asserts: str
    source: str  # KServe's test, "" where it has none


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One file of the suite."""

    file: Path
    title: str
    cases: Sequence[Case]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of one case, for each router."""

    local: str
    kserve: str


def groups() -> Iterator[Group]:
    for path in sorted((ROOT / SUITE).glob("test_*.py")):
        module = ast.parse(path.read_text(encoding="utf-8"))
        title = " ".join((ast.get_docstring(module) or "").partition("\n\n")[0].split())
        cases = [_case(test) for test in module.body if isinstance(test, ast.FunctionDef) and _is_case(test)]
        yield Group(file=path.relative_to(ROOT), title=title, cases=cases)


def _is_case(function: ast.FunctionDef) -> bool:
    arguments = {argument.arg for argument in function.args.args}
    return function.name.startswith("test_") and "router" in arguments


def _case(function: ast.FunctionDef) -> Case:
    text = ast.get_docstring(function)
    if text is None:
        raise SystemExit(f"{function.name} has no docstring: write one")
    asserts, _, source = text.partition("KServe: ")
    return Case(name=function.name, asserts=" ".join(asserts.split()), source=source.strip())


class Recorder:
    """pytest plugin that counts the results of each case and router."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str, str]] = Counter()  # name, router, outcome

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        router = _ROUTER.search(report.nodeid)
        name = report.nodeid.rpartition("::")[2].partition("[")[0]
        if router and (report.when == "call" or report.outcome != "passed"):
            self.counts[name, router[1], report.outcome] += 1

    def outcome(self, name: str) -> Outcome:
        return Outcome(local=self._says(name, "local"), kserve=self._says(name, "kserve"))

    def _says(self, name: str, router: str) -> str:
        passed = self.counts[name, router, "passed"]
        others = self.counts[name, router, "failed"] + self.counts[name, router, "skipped"]
        if others or not passed:
            return f"**{others} not passed**"
        return "passes" if passed == 1 else f"passes ({passed})"


def page(outcomes: Mapping[str, Outcome], figures: str) -> str:
    """The whole page; `figures` is a sentence."""
    parts = [
        _HEAD.format(version=KSERVE, figures=figures),
        *(_section(group, outcomes) for group in groups()),
        _REFUSED,
    ]
    return "".join(parts) + "".join(f"| {what} | `` {_refusal(nodes)} `` |\n" for what, nodes in _REFUSED_NODES.items())


def _section(group: Group, outcomes: Mapping[str, Outcome]) -> str:
    rows = [_row(case, outcomes[case.name]) for case in group.cases]
    head = "| case | KServe's test | what is asserted | local router | KServe's router |\n|---|---|---|---|---|\n"
    return f"\n## {group.file.name}\n\n{group.title}\n\n{head}" + "".join(rows)


def _row(case: Case, outcome: Outcome) -> str:
    source = ", ".join(f"`{test}`" for test in case.source.split(", ") if test)
    return f"| `{case.name}` | {source} | {case.asserts} | {outcome.local} | {outcome.kserve} |\n"


def _refusal(nodes: Mapping[str, Any]) -> str:
    try:
        parse_spec({"nodes": nodes})
    except ManifestError as exc:
        return str(exc)
    raise SystemExit(f"{nodes} is not refused")


def outcomes_on(text: str) -> dict[str, Outcome]:
    """The results of each case, parsed from a page."""
    rows = (_ROW.fullmatch(line) for line in text.splitlines())
    return {row["name"]: Outcome(local=row["local"], kserve=row["kserve"]) for row in rows if row}


def figures_on(text: str) -> str:
    return re.findall(r"is skipped\. (.*)", text)[0]


def main() -> int:
    if not os.environ.get("SHARDLINE_KSERVE_ROUTER"):
        raise SystemExit("SHARDLINE_KSERVE_ROUTER must name KServe's router: half of the page is its results")
    os.chdir(ROOT)
    recorder = Recorder()
    code = pytest.main([str(SUITE), "-q", *sys.argv[1:]], plugins=[recorder])
    passed = Counter(router for (_, router, what), n in recorder.counts.items() for _ in range(n) if what == "passed")
    figures = f"Passed: {passed['local']} by the local router, {passed['kserve']} by KServe's."
    names = [case.name for group in groups() for case in group.cases]
    PAGE.write_text(page({name: recorder.outcome(name) for name in names}, figures), encoding="utf-8")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
