"""An InferenceGraph's spec, as the local router reads it."""

import json
from typing import Any

import pytest
from services.routers import node, sequence

from shardline.manifests.graph import Graph, RouterTimeouts, parse_graph, parse_spec
from shardline.wire.errors import ManifestError


def nodes(**of: dict[str, Any]) -> dict[str, Any]:
    return {"nodes": of}


X = {"serviceUrl": "http://x"}


SPLITTER = node("Splitter", X)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("{", "--graph-json is not JSON"),
        ("[]", "--graph-json is not a JSON object"),
        ({"nodes": {}}, "incomplete or invalid"),
        (nodes(root=node("Loop", X)), "node root is a Loop, allowed are Sequence, Splitter, Ensemble, Switch"),
        (nodes(root=sequence({"nodeName": "other"})), "node root names the node other, known are root: add it"),
        (nodes(root=sequence({"nodeName": "a"}), a=sequence({"nodeName": "root"})), r"\(root -> a -> root\)"),
        (nodes(root=sequence({"serviceName": "s"})), "node root, step 0, has no serviceUrl"),
        (nodes(root=sequence(X, {"nodeName": "a"}), a=SPLITTER), "node a, step 0, has no weight"),
        (nodes(root=node("Switch", X)), "node root, step 0, has no condition"),
        (nodes(root=sequence()), "node root has no steps"),
    ],
)
def test_what_is_no_graph_is_refused_in_one_line(spec: object, message: str) -> None:
    with pytest.raises(ManifestError, match=message) as refused:
        parse_graph(spec if isinstance(spec, str) else json.dumps(spec))

    assert "\n" not in str(refused.value)


def test_a_graph_is_a_tree_of_steps() -> None:
    first = {"serviceUrl": "http://first", "name": "first", "dependency": "Hard"}
    graph = parse_spec(nodes(root=sequence(first, {"nodeName": "rest", "data": "$response"}), rest=node("Ensemble", X)))
    [one, two] = graph.root.steps

    assert (one.target, one.name, one.hard, one.use_response) == ("http://first", "first", True, False)
    assert not isinstance(two.target, str)
    assert (two.target.kind, [step.target for step in two.target.steps], two.use_response) == (
        "Ensemble",
        ["http://x"],
        True,
    )


def test_the_first_step_never_gets_a_response() -> None:
    [step] = parse_spec(nodes(root=sequence({**X, "data": "$response"}))).root.steps

    assert not step.use_response


def test_timeouts_have_kserves_defaults_and_0_is_none() -> None:
    plain = parse_spec(nodes(root=sequence(X)))
    given = parse_spec({**nodes(root=sequence(X)), "routerTimeouts": {"serverRead": 0, "serviceClient": 7}})

    assert plain == Graph(root=plain.root, timeouts=RouterTimeouts(server_read_s=60, server_write_s=60))
    assert given.timeouts == RouterTimeouts(server_read_s=None, service_client_s=7)
