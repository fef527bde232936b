"""Splitter, Ensemble and Switch, alone and as nodes of other nodes, beyond KServe's own tests."""

import json
import random
from http.client import HTTPResponse
from threading import Barrier, Event
from typing import Any

import pytest
from services.processes import free_port, wait_until
from services.routers import DEADLINE_S, node, sequence

NO_ROUTE = "None of the routes matched with the switch condition"


def failure(answer: tuple[HTTPResponse, bytes], status: int = 500) -> str:
    response, body = answer
    assert response.status == status
    document = json.loads(body)
    assert document.keys() == {"error", "cause"}
    assert document["error"] == "Failed to process request"
    return str(document["cause"])


def hard(url: str) -> dict[str, Any]:
    return {"serviceUrl": url, "dependency": "Hard"}


# Splitter


@pytest.mark.parametrize("dependency", ["Hard", "Soft"])
def test_a_splitter_gives_its_steps_status_and_bytes(steps: Any, router: Any, dependency: str) -> None:
    """The chosen step's status and 3 MB of binary response come back unchanged, Hard or Soft."""
    frame = random.Random(0).randbytes(3_000_000)
    only = steps.replies(lambda request: (503, {}, request.body))
    root = node("Splitter", {"serviceUrl": only.url, "weight": 100, "dependency": dependency})

    response, body = router.graph(root=root).ask(frame)

    assert (response.status, body) == (503, frame)


def test_a_splitter_of_less_than_100_may_find_no_route(steps: Any, router: Any) -> None:
    """Weights that sum to 0 leave no step to choose: 500."""
    root = node("Splitter", {"serviceUrl": steps.echo().url, "weight": 0})

    assert failure(router.graph(root=root).ask()) == "no route was selected by the splitter"


# Ensemble


def test_an_ensembles_steps_run_at_the_same_time(steps: Any, router: Any) -> None:
    """Three steps that each wait for the other two all succeed."""
    together = Barrier(3)
    three = [steps.replies(lambda _: (together.wait(DEADLINE_S), (200, {}, b"{}"))[1]) for _ in range(3)]

    response, body = router.graph(root=node("Ensemble", *three)).ask()

    assert (response.status, body) == (200, b'{"0":{},"1":{},"2":{}}')


def test_an_ensemble_names_steps_without_a_name_by_their_index(steps: Any, router: Any) -> None:
    """Keys are the steps' names, or their positions; sorted."""
    one = steps.says(b'{"n": 1}')
    root = node("Ensemble", {"serviceUrl": one.url, "name": "z"}, one, {"serviceUrl": one.url, "name": "a"})

    assert router.graph(root=root).ask()[1] == b'{"1":{"n":1},"a":{"n":1},"z":{"n":1}}'


def test_an_ensemble_prints_as_go_does(steps: Any, router: Any) -> None:
    """Each step's object is serialised again: keys sorted, numbers as float64, <, > and & escaped, null kept."""
    first = steps.says('{"b": 1.0, "a": [1e21, 12345678901234567890, "<é&>"], "b": 2.50}'.encode())
    second = steps.says(b"null")

    assert router.graph(root=node("Ensemble", first, second)).ask()[1] == (
        b'{"0":{"a":[1e+21,12345678901234567000,"\\u003c\xc3\xa9\\u0026\\u003e"],"b":2.5},"1":null}'
    )


def test_an_ensemble_is_200_whatever_its_soft_steps_say(steps: Any, router: Any) -> None:
    """A Soft step's 503 is merged like any other, and the status is 200."""
    root = node("Ensemble", steps.says(b'{"error": "full"}', 503), steps.says(b'{"n": 1}', 201))

    response, body = router.graph(root=root).ask()

    assert (response.status, body) == (200, b'{"0":{"error":"full"},"1":{"n":1}}')


def test_the_first_hard_step_that_fails_decides_for_an_ensemble(steps: Any, router: Any) -> None:
    """The first of two failing Hard steps, by position, determines status and body, even if it responds last."""
    second_done = Event()
    slow = steps.replies(lambda _: (second_done.wait(DEADLINE_S), (503, {}, b'{"error": "first"}'))[1])

    def reply_at_once(_: Any) -> tuple[int, dict[str, str], bytes]:
        second_done.set()
        return 404, {}, b'{"error": "second"}'

    quick = steps.replies(reply_at_once)

    response, body = router.graph(root=node("Ensemble", steps.says(b"{}"), hard(slow.url), hard(quick.url))).ask()

    assert (response.status, body) == (503, b'{"error":"first"}')


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"[1]", "json: cannot unmarshal array into Go value of type map[string]interface {}"),
        (b'"text"', "json: cannot unmarshal string into Go value of type map[string]interface {}"),
        (b"1", "json: cannot unmarshal number into Go value of type map[string]interface {}"),
        (b"true", "json: cannot unmarshal bool into Go value of type map[string]interface {}"),
        (b'{"a": 1e999}', "json: cannot unmarshal number 1e999 into Go value of type float64"),
        (b"plain", "invalid character 'p' looking for beginning of value"),
        (b'{"a": ', "unexpected end of JSON input"),
        (b"", "unexpected end of JSON input"),
    ],
    ids=["list", "string", "number", "bool", "huge", "text", "half", "nothing"],
)
def test_an_ensemble_takes_only_objects(steps: Any, router: Any, answer: bytes, cause: str) -> None:
    """A step that responds with something other than a JSON object: 500 with Go's error text in `cause`."""
    root = node("Ensemble", steps.says(b"{}"), steps.says(answer))

    assert failure(router.graph(root=root).ask()) == cause


def test_an_ensemble_takes_no_binary_answers(steps: Any, router: Any) -> None:
    """A frame in a response: 500."""
    root = node("Ensemble", steps.says(b"\x89PNG\x00\xff\xfe"))

    assert failure(router.graph(root=root).ask()).startswith("invalid character")


def test_an_ensemble_hears_of_a_dead_step_at_once(steps: Any, router: Any) -> None:
    """A step that is down is a 500 with its address, even if a step before it has not responded yet."""
    released = Event()
    slow = steps.replies(lambda _: (released.wait(DEADLINE_S), (200, {}, b"{}"))[1])
    url = f"http://127.0.0.1:{free_port()}/v1/models/s1:predict"

    cause = failure(router.graph(root=node("Ensemble", slow, {"serviceUrl": url})).ask())
    wait_until(lambda: bool(slow.requests), "the slow step is asked", DEADLINE_S)
    released.set()

    assert cause.startswith(f'Post "{url}": dial tcp 127.0.0.1:')


def test_an_ensembles_other_steps_run_on_after_the_answer(steps: Any, router: Any) -> None:
    """A Hard step that fails does not stop the others: a later Sequence in one of them still runs."""
    answered = Event()
    slow = steps.replies(lambda _: (answered.wait(DEADLINE_S), (200, {}, b"{}"))[1])
    last = steps.says(b"{}")
    running = router.graph(
        root=node("Ensemble", hard(steps.says(b"{}", 503).url), {"nodeName": "rest"}), rest=sequence(slow, last)
    )

    assert running.ask()[0].status == 503
    wait_until(lambda: bool(slow.requests), "the slow step is asked", DEADLINE_S)
    answered.set()

    wait_until(lambda: bool(last.requests), "the last step is asked", DEADLINE_S)


# Switch


def test_a_switch_takes_the_first_that_holds(steps: Any, router: Any) -> None:
    """If two conditions hold, the first step is called, with the whole input."""
    first, second = steps.echo(), steps.echo()
    targets = [{"serviceUrl": step.url, "condition": "a"} for step in (first, second)]

    assert router.graph(root=node("Switch", *targets)).ask(b' {"a": null}')[1] == b' {"a": null}'
    assert (len(first.requests), len(second.requests)) == (1, 0)


@pytest.mark.parametrize(
    "body", [b"", b"a", b'{"a": 1} x', b"[1]", b"null", b"\x10\x00\x00\x00\x00\x00\x00\x00{}"], ids=repr
)
def test_a_switch_without_a_match_is_404(steps: Any, router: Any, body: bytes) -> None:
    """A body that is not JSON, or meets no condition: 404, and no step is called."""
    only = steps.echo()

    cause = failure(router.graph(root=node("Switch", {"serviceUrl": only.url, "condition": "a"})).ask(body), status=404)

    assert cause == NO_ROUTE
    assert only.requests == []


@pytest.mark.parametrize("kind", ["Sequence", "Splitter", "Switch", "Ensemble"])
def test_a_nested_switch_without_a_match_is_500(steps: Any, router: Any, kind: str) -> None:
    """A Switch without a match that is a node of another node is a 500 with the same cause."""
    step = {"nodeName": "inner", "weight": 100, "condition": "b" if kind == "Switch" else ""}
    inner = node("Switch", {"serviceUrl": steps.echo().url, "condition": "a"})

    assert failure(router.graph(root=node(kind, step), inner=inner).ask(b'{"b": 1}')) == NO_ROUTE


# conditions of a Sequence


def test_a_condition_is_asked_of_the_answer_before(steps: Any, router: Any) -> None:
    """A met condition continues, with the client's body where `data` is not set."""
    first, second = steps.says(b'{"go": false}'), steps.echo()

    response, body = router(first, {"serviceUrl": second.url, "condition": "go"}).ask(b'{"client": 1}')

    assert (response.status, body) == (200, b'{"client": 1}')


def test_an_unmet_condition_hides_a_soft_steps_status(steps: Any, router: Any) -> None:
    """A Soft step's 503 behind which a condition is not met comes back with 200."""
    first, second = steps.says(b'{"error": "full"}', 503), steps.echo()

    response, body = router(first, {"serviceUrl": second.url, "condition": "predictions"}).ask()

    assert (response.status, body) == (200, b'{"error": "full"}')


@pytest.mark.parametrize("answer", [b"", b"plain", b"\x10\x00\x00\x00{}"], ids=["nothing", "text", "binary"])
def test_a_condition_on_an_answer_that_is_no_json_is_500(steps: Any, router: Any, answer: bytes) -> None:
    """A condition on a response that is not JSON: 500."""
    target = {"serviceUrl": steps.echo().url, "condition": "a"}

    assert failure(router(steps.says(answer), target).ask()) == "invalid response"


def test_a_condition_on_the_first_step_is_500(steps: Any, router: Any) -> None:
    """A condition on the first step, before any response: 500."""
    assert failure(router({"serviceUrl": steps.echo().url, "condition": "a"}).ask(b'{"a": 1}')) == "invalid response"


# nodes in nodes


def test_nodes_in_nodes_share_headers_and_bodies(steps: Any, router: Any) -> None:
    """Sequence in Ensemble in Sequence: each gets its own input, all get the client's headers."""
    echo, last = steps.replies(lambda request: (200, {}, b'{"got":' + request.body + b"}")), steps.echo()
    running = router.graph(
        propagate="X-Id",
        root=sequence({"nodeName": "both"}, last.hard()),
        both=node("Ensemble", {"nodeName": "twice", "name": "twice"}, {"serviceUrl": echo.url, "name": "once"}),
        twice=sequence(echo, {"serviceUrl": echo.url, "data": "$response"}),
    )

    _, body = running.ask(b"1", headers={"X-Id": "7"})

    assert body == b'{"once":{"got":1},"twice":{"got":{"got":1}}}'
    assert {request.headers["X-Id"] for request in (*echo.requests, *last.requests)} == {"7"}


def test_a_hard_node_that_fails_ends_the_sequence(steps: Any, router: Any) -> None:
    """A Hard node's status counts like that of a step."""
    last = steps.echo()

    response, body = router.graph(
        root=sequence({"nodeName": "inner", "dependency": "Hard"}, last), inner=sequence(steps.says(b"no", 409))
    ).ask()

    assert (response.status, body) == (409, b"no")
    assert last.requests == []


def test_a_dead_step_in_a_node_is_named(steps: Any, router: Any) -> None:
    """A step of an inner node that is down: 500 with its address in `cause`."""
    url = f"http://127.0.0.1:{free_port()}/s1"

    cause = failure(
        router.graph(root=sequence(steps.echo(), {"nodeName": "inner"}), inner=sequence({"serviceUrl": url})).ask()
    )

    assert cause.startswith(f'Post "{url}": dial tcp 127.0.0.1:')
    assert cause.endswith("connect: connection refused")
