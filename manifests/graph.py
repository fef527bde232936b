"""An InferenceGraph's spec as KServe's router receives it: nodes of steps, each with a URL or another node as target.

Mistakes that KServe's webhook would refuse, or that its router would only meet at the first request, are refused when
the graph is read: a missing node, a cycle, a step without a target, a missing weight.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from shardline.manifests.conditions import Condition, parse_condition
from shardline.wire.errors import ManifestError

OTHER_ROUTER = "run KServe's own binary instead: shardline up --router PATH"
ROOT = "root"

# pkg/constants RouterTimeoutsServerRead, RouterTimeoutServerWrite, RouterTimeoutServerIdle
SERVER_READ_S = 60
SERVER_WRITE_S = 60
SERVER_IDLE_S = 180

Kind = Literal["Sequence", "Splitter", "Ensemble", "Switch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step. Its node's kind decides which fields have an effect; the others are ignored, as in KServe."""

    target: "str | Node"  # a URL or a node
    name: str = ""
    use_response: bool = False  # Sequence: the input is the previous step's response, not the node's input
    map_predictions: bool = False  # Sequence: see gojson.map_predictions
    hard: bool = False  # Sequence, Ensemble: a status other than 2xx ends the node
    weight: int = 0  # Splitter: percentage of the requests
    condition: Condition | None = None  # Switch: on the input; Sequence: on the previous response


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    kind: Kind
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterTimeouts:
    """The router's timeouts in seconds; None stands for no timeout, which Go writes as 0."""

    server_read_s: float | None = SERVER_READ_S
    server_write_s: float | None = SERVER_WRITE_S
    server_idle_s: float | None = SERVER_IDLE_S
    service_client_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    root: Node
    timeouts: RouterTimeouts = RouterTimeouts()


def parse_graph(text: str) -> Graph:
    """Read the text of `--graph-json`.

    Raises:
        ManifestError: not a graph's spec, or one with a condition that this router does not support.
    """
    try:
        spec = json.loads(text)
    except ValueError as exc:
        raise ManifestError(f"--graph-json is not JSON ({exc}): give an InferenceGraph's spec") from exc
    if not isinstance(spec, dict):
        raise ManifestError("--graph-json is not a JSON object: give an InferenceGraph's spec")
    return parse_spec(spec)


def parse_spec(spec: Mapping[str, Any]) -> Graph:
    """Read a spec that is parsed already; see `parse_graph`."""
    try:
        return Graph(root=_node(spec["nodes"], ROOT, ()), timeouts=_timeouts(spec.get("routerTimeouts") or {}))
    except (KeyError, TypeError, AttributeError, ValueError) as exc:
        raise ManifestError(f"the graph's spec is incomplete or invalid ({exc!r}): render it again") from exc


def _node(nodes: Mapping[str, Any], name: str, above: tuple[str, ...]) -> Node:
    if name in above:
        raise ManifestError(
            f"the graph's node {name} leads back to itself ({' -> '.join((*above, name))}), "
            "and KServe's router would recurse without end: let a step name another node"
        )
    if above and name not in nodes:
        raise ManifestError(f"the graph's node {above[-1]} names the node {name}, known are {', '.join(nodes)}: add it")
    kind, steps = nodes[name]["routerType"], nodes[name].get("steps") or ()
    if kind not in get_args(Kind):
        raise ManifestError(f"the graph's node {name} is a {kind}, allowed are {', '.join(get_args(Kind))}")
    if not steps:
        raise ManifestError(f"the graph's node {name} has no steps: give it one")
    return Node(
        kind=kind, steps=tuple(_step(nodes, kind, step, index, (*above, name)) for index, step in enumerate(steps))
    )


def _step(nodes: Mapping[str, Any], kind: Kind, step: Mapping[str, Any], index: int, above: tuple[str, ...]) -> Step:
    where = f"the graph's node {above[-1]}, step {index},"
    return Step(
        target=_node(nodes, step["nodeName"], above) if step.get("nodeName") else _url(step, where),
        name=step.get("name") or "",
        use_response=index > 0 and step.get("data") == "$response",
        map_predictions=bool(step.get("mapPredictionsToInstances")),
        hard=step.get("dependency") == "Hard",
        weight=_weight(step, where) if kind == "Splitter" else 0,
        condition=_condition(step, kind, where),
    )


def _url(step: Mapping[str, Any], where: str) -> str:
    url = step.get("serviceUrl")
    if not isinstance(url, str) or not url:
        raise ManifestError(f"{where} has no serviceUrl: KServe's controller, or `shardline up`, sets it")
    return url


def _weight(step: Mapping[str, Any], where: str) -> int:
    weight = step.get("weight")
    if not isinstance(weight, int) or isinstance(weight, bool):
        raise ManifestError(f"{where} has no weight: give each step of a Splitter one, 100 together")
    return weight


def _condition(step: Mapping[str, Any], kind: Kind, where: str) -> Condition | None:
    text = step.get("condition") or ""
    if kind == "Switch" and not text:
        raise ManifestError(f"{where} has no condition: give each step of a Switch one")
    if not text or kind not in ("Switch", "Sequence"):
        return None
    try:
        return parse_condition(text)
    except ValueError as exc:
        raise ManifestError(f"{where} has the condition {text!r}: {exc}: {OTHER_ROUTER}") from exc


def _timeouts(given: Mapping[str, Any]) -> RouterTimeouts:
    fields = {
        "serverRead": "server_read_s",
        "serverWrite": "server_write_s",
        "serverIdle": "server_idle_s",
        "serviceClient": "service_client_s",
    }
    seconds = {fields[name]: float(given[name]) or None for name in fields if given.get(name) is not None}
    return RouterTimeouts(**seconds)
