"""KServe's own tests of its router, cmd/router/main_test.go, run against whole processes.

Those functions call routeStep and callService directly; a client of the process sees the same.
"""

import json
import threading
from http.client import RemoteDisconnected
from typing import Any

import pytest
from services.routers import node, sequence
from services.steps import Answer, Request, Step

HEADERS = {"Authorization": "Bearer Token", "Test-Header-Key": "Test-Header-Value"}
MANY_HEADERS = {"Authorization": "Bearer Token"} | {f"Test-Header-{n}": f"Test-Header-{n}" for n in (1, 2, 3)}


def predictions(*values: object) -> bytes:
    return json.dumps({"predictions": values}).encode()


def animal(label: str, *score: float) -> dict[str, Any]:
    return {"label": label, "score": list(score)}


def named(name: str, target: Step | str, **more: Any) -> dict[str, Any]:
    where = {"nodeName": target} if isinstance(target, str) else {"serviceUrl": target.url}
    return {"name": name, **where, **more}


def test_simple_model_chainer(steps: Any, router: Any) -> None:
    """The first step gets the client's predictions as instances, the second the first one's predictions.

    KServe: TestSimpleModelChainer
    """
    first, second = steps.says(b'{"predictions":"1"}'), steps.says(b'{"predictions":"2"}')

    response, body = router(
        named("model1", first, mapPredictionsToInstances=True), named("model2", second, data="$response")
    ).ask(predictions("test", "test2"))

    assert (response.status, json.loads(body)) == (200, {"predictions": "2"})
    assert json.loads(first.requests[0].body) == {"instances": ["test", "test2"]}
    assert json.loads(second.requests[0].body) == {"predictions": "1"}


def test_simple_model_ensemble(steps: Any, router: Any) -> None:
    """The steps' responses, each under its step's name.

    KServe: TestSimpleModelEnsemble
    """
    first, second = steps.says(b'{"predictions":"1"}'), steps.says(b'{"predictions":"2"}')

    response, body = router.graph(root=node("Ensemble", named("model1", first), named("model2", second))).ask(
        b'{"instances": ["test", "test2"]}'
    )

    assert response.status == 200
    assert json.loads(body) == {"model1": {"predictions": "1"}, "model2": {"predictions": "2"}}
    assert first.requests[0].body == second.requests[0].body == b'{"instances": ["test", "test2"]}'


def test_graph_with_condition(steps: Any, router: Any) -> None:
    """A Switch chooses by the input; its response meets the next step's condition, and an Ensemble is called.

    KServe: TestInferenceGraphWithCondition
    """
    cat, dog = steps.says(predictions(animal("cat", 0.1, 0.9))), steps.says(predictions(animal("dog", 0.8, 0.2)))
    beagle, poodle = animal("beagle", 0.1, 0.9), animal("poodle", 0.8, 0.2)
    running = router.graph(
        root=sequence(
            named("step1", "animal-categorize"),
            named("step2", "breed-categorize", condition='predictions.#(label=="dog")'),
        ),
        **{
            "animal-categorize": node(
                "Switch",
                named("model1", cat, condition='instances.#(modelId=="1")'),
                named("model2", dog, condition='instances.#(modelId=="2")'),
            ),
            "breed-categorize": node(
                "Ensemble",
                named("model3", steps.says(predictions(beagle))),
                named("model4", steps.says(predictions(poodle))),
            ),
        },
    )

    response, body = running.ask(b'{"instances": [{"modelId": "2"}]}')

    assert response.status == 200
    assert json.loads(body) == {"model3": {"predictions": [beagle]}, "model4": {"predictions": [poodle]}}
    assert cat.requests == []


def test_sequence_with_unmet_condition(steps: Any, router: Any) -> None:
    """A step whose condition is not met is not called: the last response comes back with 200.

    KServe: TestInferenceGraphSequenceWithUnmetCondition
    """
    first, second = steps.says(predictions(animal("cat", 0.8, 0.2))), steps.echo()

    response, body = router(first, named("step2", second, condition='predictions.#(label=="dog")')).ask()

    assert (response.status, json.loads(body)) == (200, {"predictions": [animal("cat", 0.8, 0.2)]})
    assert second.requests == []


def propagated(steps: Any, router: Any, propagate: str | None, headers: dict[str, str]) -> dict[str, str]:
    """The part of `headers` that a step gets."""
    only = steps.says(b'{"predictions":"1"}')
    response, _ = router(only, propagate=propagate).ask(headers=headers)
    assert response.status == 200
    return {name: value for name, value in only.requests[0].headers.items() if name in headers}


def test_no_header_to_propagate(steps: Any, router: Any) -> None:
    """Without patterns none of the client's headers is passed on.

    KServe: TestCallServiceWhenNoneHeadersToPropagateIsEmpty
    """
    assert propagated(steps, router, None, HEADERS) == {}


def test_one_header_to_propagate(steps: Any, router: Any) -> None:
    """One name passes that header and no other.

    KServe: TestCallServiceWhen1HeaderToPropagate
    """
    assert propagated(steps, router, "Test-Header-Key", HEADERS) == {"Test-Header-Key": "Test-Header-Value"}


def test_multiple_headers_to_propagate(steps: Any, router: Any) -> None:
    """Two names pass both headers.

    KServe: TestCallServiceWhenMultipleHeadersToPropagate
    """
    assert propagated(steps, router, "Test-Header-Key,Authorization", HEADERS) == HEADERS


def test_headers_to_propagate_by_pattern(steps: Any, router: Any) -> None:
    """Patterns match anywhere in a name.

    KServe: TestCallServiceWhenMultipleHeadersToPropagateUsingPatterns
    """
    assert propagated(steps, router, "Test-Header-*,Auth*", MANY_HEADERS) == MANY_HEADERS


def test_headers_to_propagate_by_an_invalid_pattern(steps: Any, router: Any) -> None:
    """An invalid pattern is skipped, the others count.

    KServe: TestCallServiceWhenMultipleHeadersToPropagateUsingInvalidPattern
    """
    expected = {"Authorization": "Bearer Token"}

    assert propagated(steps, router, "Test-Header-[0-9,Auth*", MANY_HEADERS) == expected


def test_malformed_url(router: Any) -> None:
    """An invalid URL of a step is a 500, and the router keeps running.

    KServe: TestMalformedURL
    """
    running = router({"serviceUrl": "http://single-1.default.{$your-domain}/switch"})

    assert [running.ask(b"")[0].status for _ in range(2)] == [500, 500]


def two_slow_steps(steps: Any, seconds: float) -> list[Any]:
    """Slow steps, to test the timeouts of the router."""

    def reply(_: Request) -> Answer:
        threading.Event().wait(seconds)
        return 200, {}, b'{"predictions":"1"}'

    return [named("model1", steps.replies(reply)), named("model2", steps.replies(reply), data="$response")]


def all_three(seconds: int) -> dict[str, int]:
    return {"serverRead": seconds, "serverWrite": seconds, "serverIdle": seconds}


def test_server_timeout_default(steps: Any, router: Any) -> None:
    """Without routerTimeouts two quick steps respond.

    KServe: TestServerTimeout/default
    """
    assert router(*two_slow_steps(steps, 0.001)).ask(b"")[0].status == 200


def test_server_timeout_timeout(steps: Any, router: Any) -> None:
    """Steps that take longer together than serverWrite: the connection is closed without a status.

    KServe: TestServerTimeout/timeout
    """
    running = router(*two_slow_steps(steps, 1), timeouts=all_three(1))

    with pytest.raises(RemoteDisconnected):
        running.ask(b"")


def test_server_timeout_success(steps: Any, router: Any) -> None:
    """Steps that together stay within serverWrite respond.

    KServe: TestServerTimeout/success
    """
    running = router(*two_slow_steps(steps, 0.5), timeouts=all_three(2))

    response, body = running.ask(b"")

    assert (response.status, body) == (200, b'{"predictions":"1"}')


@pytest.mark.parametrize("weights", [(20, 80), (30, 70)])
def test_a_splitter_always_finds_a_route(steps: Any, router: Any, weights: tuple[int, int]) -> None:
    """A thousand requests, each answered by one of two steps in proportion to its weight.

    KServe: TestPickupRouteNeverReturnsNil, TestPickupRouteAlwaysReturnsRouteForAllRandValues
    """
    first, second = steps.says(b"1"), steps.says(b"2")
    root = node("Splitter", named("1", first, weight=weights[0]), named("2", second, weight=weights[1]))

    answers = router.graph(root=root).ask_all([b"{}"] * 1000)

    assert set(answers) == {(200, b"1"), (200, b"2")}
    # six standard deviations of at most sqrt(1000 * 0.3 * 0.7): one run in five hundred million fails by chance
    assert abs(len(first.requests) - 10 * weights[0]) < 87


def test_a_splitter_draws_below_100(steps: Any, router: Any) -> None:
    """A step of weight 100 is always chosen, and a step of weight 0 never.

    KServe: TestCryptoRandIntUpperBoundWithFix
    """
    never, always = steps.says(b"never"), steps.says(b"always")
    root = node("Splitter", named("0", never, weight=0), named("100", always, weight=100))

    assert set(router.graph(root=root).ask_all([b"{}"] * 1000)) == {(200, b"always")}
