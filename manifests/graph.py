"""An InferenceGraph's spec as KServe's router gets it, for the part that the router here runs: one Sequence."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wire.errors import ManifestError

OTHER_ROUTER = "run KServe's own binary instead: shardline up --router PATH"

# pkg/constants RouterTimeoutsServerRead, RouterTimeoutServerWrite, RouterTimeoutServerIdle
SERVER_READ_S = 60
SERVER_WRITE_S = 60
SERVER_IDLE_S = 180


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    url: str
    use_response: bool = False  # the answer of the step before, not the client's body
    hard: bool = False  # a status other than 2xx ends the sequence
    map_predictions: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds; None is none, which Go writes as 0."""

    server_read_s: float | None = SERVER_READ_S
    server_write_s: float | None = SERVER_WRITE_S
    server_idle_s: float | None = SERVER_IDLE_S
    service_client_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    steps: tuple[Step, ...]
    timeouts: Timeouts = Timeouts()


def parse_graph(text: str) -> Sequence:
    """`--graph-json` -> Sequence.

    Raises:
        ManifestError: not a graph's spec, or one with more than a Sequence of serviceUrls.
    """
    try:
        spec = json.loads(text)
    except ValueError as exc:
        raise ManifestError(f"--graph-json is no JSON ({exc}): give an InferenceGraph's spec") from exc
    if not isinstance(spec, dict):
        raise ManifestError("--graph-json is no JSON object: give an InferenceGraph's spec")
    return parse_spec(spec)


def parse_spec(spec: Mapping[str, Any]) -> Sequence:
    """As `parse_graph`, of a spec that is parsed already."""
    try:
        root = spec["nodes"]["root"]
        kind = root["routerType"]
        if kind != "Sequence":
            raise ManifestError(f"the graph's root is a {kind}, this router runs a Sequence: {OTHER_ROUTER}")
        steps = tuple(_step(i, step) for i, step in enumerate(root.get("steps") or ()))
        timeouts = _timeouts(spec.get("routerTimeouts") or {})
    except (KeyError, TypeError, AttributeError, ValueError) as exc:
        raise ManifestError(f"the graph's spec is incomplete or of a wrong shape ({exc!r}): render it again") from exc
    if not steps:
        raise ManifestError("the graph's Sequence has no steps: KServe's router panics on one; give it a step")
    return Sequence(steps=steps, timeouts=timeouts)


def _step(index: int, step: Mapping[str, Any]) -> Step:
    for key in ("nodeName", "condition"):
        if step.get(key):
            raise ManifestError(f"the graph's step {index} has a {key}, which this router does not run: {OTHER_ROUTER}")
    if not step.get("serviceUrl"):
        raise ManifestError(
            f"the graph's step {index} has no serviceUrl: KServe's controller, or `shardline up`, sets it"
        )
    return Step(
        url=step["serviceUrl"],
        use_response=index > 0 and step.get("data") == "$response",
        hard=step.get("dependency") == "Hard",
        map_predictions=bool(step.get("mapPredictionsToInstances")),
    )


def _timeouts(given: Mapping[str, Any]) -> Timeouts:
    return Timeouts(
        server_read_s=_seconds(given.get("serverRead"), SERVER_READ_S),
        server_write_s=_seconds(given.get("serverWrite"), SERVER_WRITE_S),
        server_idle_s=_seconds(given.get("serverIdle"), SERVER_IDLE_S),
        service_client_s=_seconds(given.get("serviceClient"), None),
    )


def _seconds(given: Any, default: float | None) -> float | None:
    return default if given is None else (float(given) or None)
