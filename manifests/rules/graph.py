"""Lint rules for InferenceGraphs: KServe's webhook, in its order and words, and what its router fails on."""

from collections.abc import Iterator
from itertools import pairwise

from shardline.client.labels import Document
from shardline.manifests.names import ARGUMENT_BYTES, graph_argument_bytes
from shardline.manifests.rules.components import components
from shardline.manifests.rules.rule import GRAPH, Finding, Manifest, Severity, key, quoted, rule

_WEBHOOK = "inference_graph_validation.go"
_ROUTER = "cmd/router/main.go"
RESPONSE = "$response"
_NO_DATA = ("", "$request")  # anything but $response selects the request; these two do so explicitly
_SERVER_WRITE_S = 60  # constants.go RouterTimeoutServerWrite
TARGETS = ("nodeName", "serviceName", "serviceUrl")
ROOT = "root"


def nodes(graph: Manifest) -> Iterator[tuple[str, str, Document]]:
    """Iterate over the nodes of a graph: name, path, fields."""
    for name, fields in graph.spec.get("nodes", {}).items():
        yield name, key("spec.nodes", name), fields


def steps(graph: Manifest) -> Iterator[tuple[str, int, str, Document]]:
    """Iterate over the steps of a graph: name of the node, index, path, fields."""
    for node, path, fields in nodes(graph):
        for index, step in enumerate(fields.get("steps", ())):
            yield node, index, f"{path}.steps[{index}]", step


@rule(GRAPH, source=_WEBHOOK)
def graph_root(graph: Manifest) -> Iterator[Finding]:
    """A graph must have a node named `root`, where every request starts."""
    if ROOT not in graph.spec.get("nodes", {}):
        yield (
            "spec.nodes",
            "root node not found, InferenceGraph needs a node with name 'root' as the root node of the graph: "
            "rename the first node",
        )


@rule(GRAPH, source=_WEBHOOK)
def graph_step_names(graph: Manifest) -> Iterator[Finding]:
    """The names of a node's steps must differ."""
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
    """A step must have exactly one of `nodeName`, `serviceName` and `serviceUrl`."""
    for node, index, path, step in steps(graph):
        found = [name for name in TARGETS if step.get(name)]
        step_of = f'Step {index} ("{step.get("name", "")}") in node "{node}" of InferenceGraph "{graph.name}"'
        if not found:
            yield path, f"{step_of} does not specify an inference target: give it a serviceName"
        elif len(found) > 1:
            yield path, f"{step_of} specifies more than one of nodeName, serviceName, serviceUrl: keep one"


@rule(GRAPH, source=_WEBHOOK)
def graph_splitter_weight(graph: Manifest) -> Iterator[Finding]:
    """Every step of a Splitter must have a weight."""
    for node, _, path, step in steps(graph):
        if graph.spec["nodes"][node].get("routerType") == "Splitter" and "weight" not in step:
            route = f"InferenceGraph[{graph.name}] Node[{node}] Route[{step.get('serviceName', '')}]"
            yield f"{path}.weight", f"{route} missing the 'Weight': give it a percentage"


@rule(GRAPH, source=_WEBHOOK)
def graph_splitter_sum(graph: Manifest) -> Iterator[Finding]:
    """The weights of a Splitter's steps must add up to 100."""
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
    """`nodeName` must name a node of the graph."""
    known = graph.spec.get("nodes", {})
    for _, _, path, step in steps(graph):
        name = step.get("nodeName")
        if name and name not in known:
            yield f"{path}.nodeName", f"found {name!r}, allowed is a node of this graph: {quoted(known)}"


@rule(GRAPH, source=_ROUTER)
def graph_cycle(graph: Manifest) -> Iterator[Finding]:
    """No node may lead back to itself; the router would recurse until it crashes."""
    calls = {name: _called(graph, name) for name, _, _ in nodes(graph)}
    for name, path, _ in nodes(graph):
        if name in _reached(calls, name):
            yield path, f"node {name!r} leads back to itself, and the router would never end: remove the cycle"


@rule(GRAPH, source=_ROUTER, severity=Severity.WARNING)
def graph_unused_node(graph: Manifest) -> Iterator[Finding]:
    """Every node should be reachable from `root`."""
    calls = {name: _called(graph, name) for name, _, _ in nodes(graph)}
    for name, path, _ in nodes(graph):
        if ROOT in calls and name != ROOT and name not in _reached(calls, ROOT):
            yield (
                path,
                f"node {name!r} cannot be reached from root: remove it, or name it in a step's nodeName",
            )


def _called(graph: Manifest, node: str) -> list[str]:
    return [step["nodeName"] for name, _, _, step in steps(graph) if name == node and step.get("nodeName")]


def _reached(calls: dict[str, list[str]], start: str) -> set[str]:
    """Collect the nodes that a request to `start` can reach, with `start` itself only in a cycle."""
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
    """A node must have steps; the router panics on an empty Sequence."""
    for name, path, fields in nodes(graph):
        if not fields.get("steps"):
            yield f"{path}.steps", f"node {name!r} has no steps, and the router fails on it: give it one"


@rule(GRAPH, source=_ROUTER)
def graph_switch_condition(graph: Manifest) -> Iterator[Finding]:
    """Every step of a Switch must have a condition; without one it is never chosen."""
    for node, _, path, step in steps(graph):
        if graph.spec["nodes"][node].get("routerType") == "Switch" and not step.get("condition"):
            yield f"{path}.condition", "found none, and a Switch never chooses such a step: add a GJSON path"


@rule(GRAPH, source=_ROUTER)
def graph_condition(graph: Manifest) -> Iterator[Finding]:
    """A condition's brackets and quotes must be closed, as GJSON requires."""
    for _, _, path, step in steps(graph):
        condition = step.get("condition", "")
        if condition and not _closed(condition):
            yield f"{path}.condition", f"found {condition!r}, in which a bracket or quote stays open: close it"


def _closed(text: str) -> bool:
    """True if brackets match and quotes end; within quotes a backslash escapes the next character."""
    pairs = {")": "(", "]": "[", "}": "{"}
    opened: list[str] = []
    characters = iter(text)
    for character in characters:
        if character == "\\":
            next(characters, None)
        elif character == '"':
            opened = opened[:-1] if opened[-1:] == ['"'] else [*opened, character]
        elif opened[-1:] == ['"']:
            continue
        elif character in pairs.values():
            opened.append(character)
        elif character in pairs and (not opened or opened.pop() != pairs[character]):
            return False
    return not opened


@rule(GRAPH, source=_ROUTER)
def graph_weight(graph: Manifest) -> Iterator[Finding]:
    """A weight must not be negative."""
    for _, _, path, step in steps(graph):
        if step.get("weight", 0) < 0:
            yield f"{path}.weight", f"found {step['weight']}, allowed is 0 to 100"


@rule(GRAPH, source=_ROUTER)
def graph_data(graph: Manifest) -> Iterator[Finding]:
    """`data` must be exactly `$response`; any other text sends the client's request again."""
    for _, _, path, step in steps(graph):
        data = step.get("data", "")
        if data != RESPONSE and data not in _NO_DATA:
            yield (
                f"{path}.data",
                f"found {data!r}, with which the step gets the client's request: write {RESPONSE!r} for the previous "
                "step's response, or '$request'",
            )


@rule(GRAPH, source=_ROUTER, severity=Severity.WARNING)
def graph_idle_field(graph: Manifest) -> Iterator[Finding]:
    """A step should have no field that its node's router type ignores."""
    readers = {"data": "Sequence", "mapPredictionsToInstances": "Sequence", "weight": "Splitter"}
    for node, index, path, step in steps(graph):
        kind = graph.spec["nodes"][node].get("routerType")
        for name, only in readers.items():
            if step.get(name) and kind is not None and kind != only:
                yield f"{path}.{name}", f"a {kind} ignores {name}, which only a {only} reads: remove it"
        if kind == "Sequence" and index == 0 and step.get("data") == RESPONSE:
            yield f"{path}.data", "the first step has no previous response and gets the client's request: remove it"
        if kind in ("Ensemble", "Splitter") and step.get("condition"):
            yield f"{path}.condition", f"a {kind} ignores conditions, which only Sequence and Switch read: remove it"


@rule(GRAPH, source=_ROUTER, severity=Severity.WARNING)
def graph_soft(graph: Manifest) -> Iterator[Finding]:
    """A step whose response is the next step's input should be a Hard dependency."""
    for name, path, fields in nodes(graph):
        if fields.get("routerType") != "Sequence":
            continue
        for index, (step, after) in enumerate(pairwise(fields.get("steps", ()))):
            if step.get("dependency", "Soft") == "Soft" and after.get("data") == RESPONSE:
                yield (
                    f"{path}.steps[{index}].dependency",
                    f"found Soft, KServe's default: an error of this step of {name!r} is sent to the next step as its "
                    "input; write Hard",
                )


@rule(GRAPH, source="component.go")
def graph_replicas(graph: Manifest) -> Iterator[Finding]:
    """`minReplicas` and `maxReplicas` of a graph must not be negative, and must be in order."""
    least, most = graph.spec.get("minReplicas", 1), graph.spec.get("maxReplicas", 0)
    if least < 0 or most < 0:
        yield "spec.minReplicas", f"found {least} to {most} replicas, allowed is 0 and more"
    elif most and least > most:
        yield "spec.minReplicas", f"found {least}, allowed is at most maxReplicas, which is {most}"


@rule(GRAPH, source=_ROUTER)
def graph_timeouts(graph: Manifest) -> Iterator[Finding]:
    """The router's timeouts (serverWrite, serviceClient) must not be shorter than those of its steps' services."""
    given = graph.spec.get("routerTimeouts", {})
    client, write = given.get("serviceClient", 0), given.get("serverWrite", _SERVER_WRITE_S)
    waits = [(name, wait) for name, wait in (("serviceClient", client), ("serverWrite", write)) if wait]
    if client and write and write < client:
        yield (
            "spec.routerTimeouts.serverWrite",
            f"found {write} s, less than serviceClient's {client} s: the client's connection would be closed without a "
            "response before a slow step times out; make it longer",
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
    """Iterate over the timeouts of the steps' services: service, component, seconds."""
    for name in dict.fromkeys(step.get("serviceName") for _, _, _, step in steps(graph)):
        service = graph.find("InferenceService", name) if name else None
        for component in components(service) if service else ():
            if component.spec.get("timeout"):
                yield service.name if service else "", component.name, component.spec["timeout"]


@rule(GRAPH, source=_ROUTER)
def graph_argument(graph: Manifest) -> Iterator[Finding]:
    """The spec with its URLs must fit into one argument of the router's command line, 128 KiB."""
    services = [step["serviceName"] for *_, step in steps(graph) if step.get("serviceName")]
    size = graph_argument_bytes(graph.spec, services, graph.namespace)
    if size >= ARGUMENT_BYTES:
        yield "spec", f"takes {size} bytes as the router's argument, Linux allows {ARGUMENT_BYTES - 1}: use fewer steps"
