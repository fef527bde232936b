"""KServe's end-to-end scenarios of graphs, test/e2e/graph/test_inference_graph.py, with its two models as processes.

KServe's models are python/test_resources/graph/{success_200_isvc,error_404_isvc}; tests/services/verdict.py serves the
same with KServe's SDK. Inputs and graphs are those of test/e2e/graph/test-resources.
"""

import json
from typing import Any

import pytest
from services.routers import Running, node, sequence

pytestmark = pytest.mark.slow

SUCCESS = (200, {"predictions": [{"message": "SUCCESS"}]})
ERROR = (404, {"detail": "Intentional 404 code"})
NO_ROUTE = (
    404,
    {"error": "Failed to process request", "cause": "None of the routes matched with the switch condition"},
)
IRIS = {"instances": [[6.8, 2.8, 4.8, 1.4], [6.0, 3.4, 4.5, 1.6]]}
IF_ERROR = "[@this].#(decision_picker==ERROR)"
IF_SUCCESS = "[@this].#(decision_picker==SUCCESS)"


def picker(choice: str) -> dict[str, Any]:
    return {"decision_picker": choice, "key1": {"name": "abc"}}


def asked(running: Running, document: dict[str, Any]) -> tuple[int, Any]:
    response, body = running.ask(json.dumps(document).encode())
    return response.status, json.loads(body)


def test_inference_graph(steps: Any, router: Any) -> None:
    """Three Hard steps that each get the client's request: the last one's predictions.

    KServe: test_inference_graph
    """
    three = [steps.says(b'{"predictions": [1, 1]}') for _ in range(3)]
    ask_again = [{"serviceUrl": step.url, "dependency": "Hard", "data": "$request"} for step in three]

    assert asked(router(*ask_again), IRIS) == (200, {"predictions": [1, 1]})
    assert [json.loads(step.requests[0].body) for step in three] == [IRIS] * 3


def test_scenario_1(success: str, error: str, router: Any) -> None:
    """Sequence of success, error, both Soft: the error's response.

    KServe: test_ig_scenario1
    """
    assert asked(router({"serviceUrl": success}, {"serviceUrl": error, "data": "$request"}), IRIS) == ERROR


def test_scenario_2(success: str, error: str, router: Any) -> None:
    """Sequence of error, success, both Soft: the success.

    KServe: test_ig_scenario2
    """
    assert asked(router({"serviceUrl": error}, {"serviceUrl": success, "data": "$request"}), IRIS) == SUCCESS


def test_scenario_3(success: str, error: str, router: Any) -> None:
    """Sequence of error (Hard), success: the error's response.

    KServe: test_ig_scenario3
    """
    assert asked(router({"serviceUrl": error, "dependency": "Hard"}, {"serviceUrl": success}), IRIS) == ERROR


@pytest.mark.parametrize(
    ("choice", "expected"),
    [("ERROR", ERROR), ("SUCCESS", SUCCESS), ("NO_MATCH", NO_ROUTE)],
    ids=["error", "success", "no_match"],
)
def test_scenario_4(success: str, error: str, router: Any, choice: str, expected: tuple[int, Any]) -> None:
    """Switch between error and success by the body; a body that meets no condition is a 404 with a cause.

    KServe: test_ig_scenario4
    """
    root = node(
        "Switch",
        {"name": "rootStep1", "serviceUrl": error, "condition": IF_ERROR, "dependency": "Soft"},
        {"name": "rootStep2", "serviceUrl": success, "condition": IF_SUCCESS, "dependency": "Soft"},
    )

    assert asked(router.graph(root=root), picker(choice)) == expected


def nested(router: Any, inner: dict[str, Any], success: str, dependency: str) -> Running:
    """Sequence of a node and success."""
    first = {"name": "rootStep1", "nodeName": "node1", "dependency": dependency}
    running: Running = router.graph(root=sequence(first, {"name": "rootStep2", "serviceUrl": success}), node1=inner)
    return running


def test_scenario_5(success: str, error: str, router: Any) -> None:
    """Sequence of a Switch (Soft) that ends in error, and success: the success.

    KServe: test_ig_scenario5
    """
    switch = node("Switch", {"name": "node1Step1", "serviceUrl": error, "condition": IF_ERROR})

    assert asked(nested(router, switch, success, "Soft"), picker("ERROR")) == SUCCESS


def test_scenario_6(success: str, error: str, router: Any) -> None:
    """Sequence of a Switch (Hard) that ends in error, and success: the error's response.

    KServe: test_ig_scenario6
    """
    switch = node("Switch", {"name": "node1Step1", "serviceUrl": error, "condition": IF_ERROR, "dependency": "Hard"})

    assert asked(nested(router, switch, success, "Hard"), picker("ERROR")) == ERROR


def test_scenario_7(success: str, error: str, router: Any) -> None:
    """Ensemble of success and error, both Soft: both responses by name.

    KServe: test_ig_scenario7
    """
    root = node("Ensemble", {"name": "rootStep1", "serviceUrl": success}, {"name": "rootStep2", "serviceUrl": error})

    assert asked(router.graph(root=root), picker("SUCCESS")) == (200, {"rootStep1": SUCCESS[1], "rootStep2": ERROR[1]})


def test_scenario_8(success: str, error: str, router: Any) -> None:
    """Ensemble of error (Hard) and two of success: the error's response.

    KServe: test_ig_scenario8
    """
    root = node(
        "Ensemble",
        {"name": "rootStep1", "serviceUrl": error, "dependency": "Hard"},
        {"name": "rootStep2", "serviceUrl": success},
        {"name": "rootStep3", "serviceUrl": success},
    )

    assert asked(router.graph(root=root), picker("SUCCESS")) == ERROR


def splitter(error: str, **more: str) -> dict[str, Any]:
    """A graph with a condition, as in KServe's file: a Splitter ignores it."""
    return node("Splitter", {"name": "node1Step1", "weight": 100, "serviceUrl": error, "condition": IF_ERROR, **more})


def test_scenario_9(success: str, error: str, router: Any) -> None:
    """Sequence of a Splitter (Soft) that ends in error, and success: the success.

    KServe: test_ig_scenario9
    """
    assert asked(nested(router, splitter(error), success, "Soft"), IRIS) == SUCCESS


def test_scenario_10(success: str, error: str, router: Any) -> None:
    """Sequence of a Splitter (Hard) that ends in error, and success: the error's response.

    KServe: test_ig_scenario10
    """
    assert asked(nested(router, splitter(error, dependency="Hard"), success, "Hard"), IRIS) == ERROR
