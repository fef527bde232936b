"""docs/conformance.md lists the cases of tests/conformance/, passed by both routers, and all of KServe's own cases."""

import importlib.util
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
# cmd/router/main_test.go and test/e2e/graph/test_inference_graph.py but for raw mode, which sends no request
UNIT_TESTS = {
    "TestSimpleModelChainer",
    "TestSimpleModelEnsemble",
    "TestInferenceGraphWithCondition",
    "TestInferenceGraphSequenceWithUnmetCondition",
    "TestCallServiceWhenNoneHeadersToPropagateIsEmpty",
    "TestCallServiceWhen1HeaderToPropagate",
    "TestCallServiceWhenMultipleHeadersToPropagate",
    "TestMalformedURL",
    "TestCallServiceWhenMultipleHeadersToPropagateUsingPatterns",
    "TestCallServiceWhenMultipleHeadersToPropagateUsingInvalidPattern",
    "TestServerTimeout/default",
    "TestServerTimeout/timeout",
    "TestServerTimeout/success",
    "TestPickupRouteNeverReturnsNil",
    "TestPickupRouteAlwaysReturnsRouteForAllRandValues",
    "TestCryptoRandIntUpperBoundWithFix",
}
SCENARIOS = {"test_inference_graph", *(f"test_ig_scenario{number}" for number in range(1, 11))}


def load_script() -> Any:
    """docs/ is no package: its script is loaded by path."""
    spec = importlib.util.spec_from_file_location("docs_conformance", ROOT / "docs" / "conformance.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIPT = load_script()
PAGE = SCRIPT.PAGE.read_text(encoding="utf-8")


def test_page_is_the_suites() -> None:
    """Each case, its words and the lines of refusal."""
    again = SCRIPT.page(SCRIPT.outcomes_on(PAGE), SCRIPT.figures_on(PAGE))

    assert again == PAGE, "run: SHARDLINE_KSERVE_ROUTER=/path/to/router python docs/conformance.py"


def test_both_routers_pass_every_case() -> None:
    said = {says for outcome in SCRIPT.outcomes_on(PAGE).values() for says in (outcome.local, outcome.kserve)}

    assert [says for says in said if not says.startswith("passes")] == []


def test_both_routers_are_asked_the_same() -> None:
    differ = [name for name, outcome in SCRIPT.outcomes_on(PAGE).items() if outcome.local != outcome.kserve]

    assert differ == []


def test_none_of_kserves_own_tests_is_left_out() -> None:
    sources = {
        source for group in SCRIPT.groups() for case in group.cases for source in case.source.split(", ") if source
    }

    assert sources == UNIT_TESTS | SCENARIOS
