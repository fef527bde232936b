"""What KServe's webhook lets pass in an InferenceGraph, and its router then fails on."""

import json
from collections.abc import Iterator
from itertools import pairwise

from shardline.manifests.rules.components import components
from shardline.manifests.rules.graph import ROOT, nodes, steps
from shardline.manifests.rules.manifest import Manifest
from shardline.manifests.rules.rule import GRAPH, Finding, Severity, quoted, rule

_SOURCE = "cmd/router/main.go"
RESPONSE = "$response"
_NO_DATA = ("", "$request")  # what is not $response is the request; these two say so
ARGUMENT_BYTES = 128 * 1024  # Linux's MAX_ARG_STRLEN
_URL = "http://{0}-transformer.{1}.svc.cluster.local/v1/models/{0}:predict"
_SERVER_WRITE_S = 60  # constants.go RouterTimeoutServerWrite


@rule(GRAPH, source=_SOURCE)
def graph_node_name(graph: Manifest) -> Iterator[Finding]:
    """`nodeName` names a node of the graph."""
    known = graph.spec.get("nodes", {})
    for _, _, path, step in steps(graph):
        name = step.get("nodeName")
        if name and name not in known:
            yield f"{path}.nodeName", f"found {name!r}, allowed is a node of this graph: {quoted(known)}"


@rule(GRAPH, source=_SOURCE)
def graph_cycle(graph: Manifest) -> Iterator[Finding]:
    """No node leads back to itself: the router would recurse until it dies."""
    calls = {name: _called(graph, name) for name, _, _ in nodes(graph)}
    for name, path, _ in nodes(graph):
        if name in _reached(calls, name):
            yield path, f"node {name!r} leads back to itself, and the router would call it without end: break the cycle"


@rule(GRAPH, source=_SOURCE, severity=Severity.WARNING)
def graph_unused_node(graph: Manifest) -> Iterator[Finding]:
    """Every node is reached from `root`."""
    calls = {name: _called(graph, name) for name, _, _ in nodes(graph)}
    for name, path, _ in nodes(graph):
        if ROOT in calls and name != ROOT and name not in _reached(calls, ROOT):
            yield (
                path,
                f"no step on the way from root leads to node {name!r}: remove it, or name it in a step's nodeName",
            )


def _called(graph: Manifest, node: str) -> list[str]:
    return [step["nodeName"] for name, _, _, step in steps(graph) if name == node and step.get("nodeName")]


def _reached(calls: dict[str, list[str]], start: str) -> set[str]:
    """The nodes that a request to `start` may come to; `start` only if it comes back."""
    reached: set[str] = set()
    waiting = list(calls.get(start, ()))
    while waiting:
        node = waiting.pop()
        if node not in reached:
            reached.add(node)
            waiting += calls.get(node, ())
    return reached


@rule(GRAPH, source=_SOURCE)
def graph_empty_node(graph: Manifest) -> Iterator[Finding]:
    """A node has steps: the router panics on a Sequence of none."""
    for name, path, fields in nodes(graph):
        if not fields.get("steps"):
            yield f"{path}.steps", f"node {name!r} has no steps, and the router fails on it: give it one"


@rule(GRAPH, source=_SOURCE)
def graph_switch_condition(graph: Manifest) -> Iterator[Finding]:
    """Every step of a Switch has a condition: without one it is never chosen."""
    for node, _, path, step in steps(graph):
        if graph.spec["nodes"][node].get("routerType") == "Switch" and not step.get("condition"):
            yield f"{path}.condition", "found none, and a Switch never chooses such a step: give it a GJSON path"


@rule(GRAPH, source=_SOURCE)
def graph_condition(graph: Manifest) -> Iterator[Finding]:
    """A condition's brackets and quotes are closed, as a GJSON path has to have them."""
    for _, _, path, step in steps(graph):
        condition = step.get("condition", "")
        if condition and not _closed(condition):
            yield f"{path}.condition", f"found {condition!r}, a bracket or quote of which stays open: close it"


def _closed(text: str) -> bool:
    """Whether brackets match and quotes end; within quotes a backslash takes the next character along."""
    pairs = {")": "(", "]": "[", "}": "{"}
    opened: list[str] = []
    characters = iter(text)
    for each in characters:
        if each == "\\":
            next(characters, None)
        elif each == '"':
            opened = opened[:-1] if opened[-1:] == ['"'] else [*opened, each]
        elif opened[-1:] == ['"']:
            continue
        elif each in pairs.values():
            opened.append(each)
        elif each in pairs and (not opened or opened.pop() != pairs[each]):
            return False
    return not opened


@rule(GRAPH, source=_SOURCE)
def graph_weight(graph: Manifest) -> Iterator[Finding]:
    """No weight is negative."""
    for _, _, path, step in steps(graph):
        if step.get("weight", 0) < 0:
            yield f"{path}.weight", f"found {step['weight']}, allowed is 0 to 100"


@rule(GRAPH, source=_SOURCE)
def graph_data(graph: Manifest) -> Iterator[Finding]:
    """`data` is `$response`, to the letter: any other text sends the client's request again."""
    for _, _, path, step in steps(graph):
        data = step.get("data", "")
        if data != RESPONSE and data not in _NO_DATA:
            yield (
                f"{path}.data",
                f"found {data!r}, with which the step gets the client's request: write {RESPONSE!r} for the answer "
                "of the step before, or '$request'",
            )


@rule(GRAPH, source=_SOURCE, severity=Severity.WARNING)
def graph_idle_field(graph: Manifest) -> Iterator[Finding]:
    """A step has no field that its node's router type does not look at."""
    looked_at = {"data": "Sequence", "mapPredictionsToInstances": "Sequence", "weight": "Splitter"}
    for node, index, path, step in steps(graph):
        kind = graph.spec["nodes"][node].get("routerType")
        for name, only in looked_at.items():
            if step.get(name) and kind is not None and kind != only:
                yield f"{path}.{name}", f"a {kind} does not look at {name}, only a {only} does: remove it"
        if kind == "Sequence" and index == 0 and step.get("data") == RESPONSE:
            yield f"{path}.data", "the first step has no answer before it and gets the client's request: remove it"
        if kind in ("Ensemble", "Splitter") and step.get("condition"):
            yield f"{path}.condition", f"a {kind} does not look at conditions, only Sequence and Switch do: remove it"


@rule(GRAPH, source=_SOURCE, severity=Severity.WARNING)
def graph_soft(graph: Manifest) -> Iterator[Finding]:
    """A step whose answer is the next one's input is a Hard dependency."""
    for name, path, fields in nodes(graph):
        if fields.get("routerType") != "Sequence":
            continue
        for index, (step, after) in enumerate(pairwise(fields.get("steps", ()))):
            if step.get("dependency", "Soft") == "Soft" and after.get("data") == RESPONSE:
                yield (
                    f"{path}.steps[{index}].dependency",
                    f"found Soft, KServe's default: an error of this step of {name!r} is sent to the next one as its "
                    "input; write Hard",
                )


@rule(GRAPH, source="component.go")
def graph_replicas(graph: Manifest) -> Iterator[Finding]:
    """`minReplicas` and `maxReplicas` of a graph are not negative, and in order."""
    least, most = graph.spec.get("minReplicas", 1), graph.spec.get("maxReplicas", 0)
    if least < 0 or most < 0:
        yield "spec.minReplicas", f"found {least} to {most} replicas, allowed is 0 and more"
    elif most and least > most:
        yield "spec.minReplicas", f"found {least}, allowed is at most maxReplicas, which is {most}"


@rule(GRAPH, source=_SOURCE)
def graph_timeouts(graph: Manifest) -> Iterator[Finding]:
    """The router waits as long as its steps may take: serverWrite, serviceClient and the stages' timeouts agree."""
    given = graph.spec.get("routerTimeouts", {})
    client, write = given.get("serviceClient", 0), given.get("serverWrite", _SERVER_WRITE_S)
    waits = [(name, each) for name, each in (("serviceClient", client), ("serverWrite", write)) if each]
    if client and write and write < client:
        yield (
            "spec.routerTimeouts.serverWrite",
            f"found {write} s, less than serviceClient's {client} s: the client's connection is closed without an "
            "answer before a slow step is given up; make it longer",
        )
    for name, seconds in waits:
        for service, component, timeout in _timeouts(graph):
            if timeout > seconds:
                yield (
                    f"spec.routerTimeouts.{name}",
                    f"found {seconds} s, but the {component} of InferenceService {service} may take {timeout} s: "
                    "make it longer, or the service's timeout shorter",
                )


def _timeouts(graph: Manifest) -> Iterator[tuple[str, str, int]]:
    """Service, component and seconds of what the steps call."""
    for name in dict.fromkeys(step.get("serviceName") for _, _, _, step in steps(graph)):
        service = graph.find("InferenceService", name) if name else None
        for each in components(service) if service else ():
            if each.spec.get("timeout"):
                yield service.name if service else "", each.name, each.spec["timeout"]


@rule(GRAPH, source=_SOURCE)
def graph_argument(graph: Manifest) -> Iterator[Finding]:
    """The spec with its URLs fits the one argument by which the router gets it, 128 KiB."""
    urls = [_URL.format(step["serviceName"], graph.namespace) for *_, step in steps(graph) if step.get("serviceName")]
    size = len(json.dumps(graph.spec, separators=(",", ":"), default=str).encode()) + sum(map(len, urls))
    if size >= ARGUMENT_BYTES:
        yield "spec", f"takes {size} bytes as the router's argument, Linux allows {ARGUMENT_BYTES - 1}: use fewer steps"
