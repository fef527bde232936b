"""What KServe's webhook asks of an InferenceGraph, in its order and its words."""

import json
import re
from collections.abc import Iterator
from itertools import pairwise

from shardline.manifests.rules.components import components
from shardline.manifests.rules.rule import GRAPH, Document, Finding, Manifest, Severity, key, quoted, rule

_WEBHOOK = "inference_graph_validation.go"
_ROUTER = "cmd/router/main.go"
RESPONSE = "$response"
_NO_DATA = ("", "$request")  # what is not $response is the request; these two say so
ARGUMENT_BYTES = 128 * 1024  # Linux's MAX_ARG_STRLEN
_URL = "http://{0}-transformer.{1}.svc.cluster.local/v1/models/{0}:predict"
_SERVER_WRITE_S = 60  # constants.go RouterTimeoutServerWrite
_NAME = "[a-z]([-a-z0-9]*[a-z0-9])?"
TARGETS = ("nodeName", "serviceName", "serviceUrl")
ROOT = "root"


def nodes(graph: Manifest) -> Iterator[tuple[str, str, Document]]:
    """Name, path and fields of each node."""
    for name, fields in graph.spec.get("nodes", {}).items():
        yield name, key("spec.nodes", name), fields


def steps(graph: Manifest) -> Iterator[tuple[str, int, str, Document]]:
    """Name of the node, index, path and fields of each step."""
    for node, path, fields in nodes(graph):
        for index, step in enumerate(fields.get("steps", ())):
            yield node, index, f"{path}.steps[{index}]", step


@rule(GRAPH, source=_WEBHOOK)
def graph_name(graph: Manifest) -> Iterator[Finding]:
    """A graph's name is lower-case letters, digits and `-`, from a letter on."""
    if graph.name and not re.fullmatch(_NAME, graph.name):
        yield (
            "metadata.name",
            f'The InferenceGraph "{graph.name}" is invalid: a InferenceGraph name must consist of lower case '
            "alphanumeric characters or '-', and must start with alphabetical character. "
            f'(e.g. "my-name" or "abc-123", regex used for validation is \'{_NAME}\'): choose another name',
        )


@rule(GRAPH, source=_WEBHOOK)
def graph_root(graph: Manifest) -> Iterator[Finding]:
    """A graph has a node named `root`, where every request starts."""
    if ROOT not in graph.spec.get("nodes", {}):
        yield (
            "spec.nodes",
            "root node not found, InferenceGraph needs a node with name 'root' as the root node of the graph: "
            "rename the first node",
        )


@rule(GRAPH, source=_WEBHOOK)
def graph_step_names(graph: Manifest) -> Iterator[Finding]:
    """The steps of one node have names of their own."""
    seen: set[tuple[str, str]] = set()
    for node, _, path, step in steps(graph):
        name = step.get("name", "")
        if name and (node, name) in seen:
            yield (
                f"{path}.name",
                f'Node "{node}" of InferenceGraph "{graph.name}" contains more than one step with name "{name}": '
                "rename one",
            )
        seen.add((node, name))


@rule(GRAPH, source=_WEBHOOK)
def graph_step_target(graph: Manifest) -> Iterator[Finding]:
    """A step has exactly one of `nodeName`, `serviceName` and `serviceUrl`."""
    for node, index, path, step in steps(graph):
        found = [name for name in TARGETS if step.get(name)]
        step_of = f'Step {index} ("{step.get("name", "")}") in node "{node}" of InferenceGraph "{graph.name}"'
        if not found:
            yield path, f"{step_of} does not specify an inference target: give it a serviceName"
        elif len(found) > 1:
            yield path, f"{step_of} specifies more than one of nodeName, serviceName, serviceUrl: keep one"


@rule(GRAPH, source=_WEBHOOK)
def graph_splitter_weight(graph: Manifest) -> Iterator[Finding]:
    """Every step of a Splitter has a weight."""
    for node, _, path, step in steps(graph):
        if graph.spec["nodes"][node].get("routerType") == "Splitter" and "weight" not in step:
            route = f"InferenceGraph[{graph.name}] Node[{node}] Route[{step.get('serviceName', '')}]"
            yield f"{path}.weight", f"{route} missing the 'Weight': give it a percentage"


@rule(GRAPH, source=_WEBHOOK)
def graph_splitter_sum(graph: Manifest) -> Iterator[Finding]:
    """The weights of a Splitter's steps make 100."""
    for node, path, fields in nodes(graph):
        weights = [step.get("weight", 0) for step in fields.get("steps", ())]
        if fields.get("routerType") == "Splitter" and sum(weights) != 100:
            yield (
                f"{path}.steps",
                f"InferenceGraph[{graph.name}] Node[{node}] splitter node: the sum of traffic weights for all routing "
                f"targets should be 100: found {sum(weights)}",
            )


@rule(GRAPH, source=_ROUTER)
def graph_node_name(graph: Manifest) -> Iterator[Finding]:
    """`nodeName` names a node of the graph."""
    known = graph.spec.get("nodes", {})
    for _, _, path, step in steps(graph):
        name = step.get("nodeName")
        if name and name not in known:
            yield f"{path}.nodeName", f"found {name!r}, allowed is a node of this graph: {quoted(known)}"


@rule(GRAPH, source=_ROUTER)
def graph_cycle(graph: Manifest) -> Iterator[Finding]:
    """No node leads back to itself: the router would recurse until it dies."""
    calls = {name: _called(graph, name) for name, _, _ in nodes(graph)}
    for name, path, _ in nodes(graph):
        if name in _reached(calls, name):
            yield path, f"node {name!r} leads back to itself, and the router would call it without end: break the cycle"


@rule(GRAPH, source=_ROUTER, severity=Severity.WARNING)
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


@rule(GRAPH, source=_ROUTER)
def graph_empty_node(graph: Manifest) -> Iterator[Finding]:
    """A node has steps: the router panics on a Sequence of none."""
    for name, path, fields in nodes(graph):
        if not fields.get("steps"):
            yield f"{path}.steps", f"node {name!r} has no steps, and the router fails on it: give it one"


@rule(GRAPH, source=_ROUTER)
def graph_switch_condition(graph: Manifest) -> Iterator[Finding]:
    """Every step of a Switch has a condition: without one it is never chosen."""
    for node, _, path, step in steps(graph):
        if graph.spec["nodes"][node].get("routerType") == "Switch" and not step.get("condition"):
            yield f"{path}.condition", "found none, and a Switch never chooses such a step: give it a GJSON path"


@rule(GRAPH, source=_ROUTER)
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


@rule(GRAPH, source=_ROUTER)
def graph_weight(graph: Manifest) -> Iterator[Finding]:
    """No weight is negative."""
    for _, _, path, step in steps(graph):
        if step.get("weight", 0) < 0:
            yield f"{path}.weight", f"found {step['weight']}, allowed is 0 to 100"


@rule(GRAPH, source=_ROUTER)
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


@rule(GRAPH, source=_ROUTER, severity=Severity.WARNING)
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


@rule(GRAPH, source=_ROUTER, severity=Severity.WARNING)
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


@rule(GRAPH, source=_ROUTER)
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


@rule(GRAPH, source=_ROUTER)
def graph_argument(graph: Manifest) -> Iterator[Finding]:
    """The spec with its URLs fits the one argument by which the router gets it, 128 KiB."""
    urls = [_URL.format(step["serviceName"], graph.namespace) for *_, step in steps(graph) if step.get("serviceName")]
    size = len(json.dumps(graph.spec, separators=(",", ":"), default=str).encode()) + sum(map(len, urls))
    if size >= ARGUMENT_BYTES:
        yield "spec", f"takes {size} bytes as the router's argument, Linux allows {ARGUMENT_BYTES - 1}: use fewer steps"
