"""What KServe's webhook asks of an InferenceGraph, in its order and its words."""

import re
from collections.abc import Iterator

from shardline.manifests.rules.manifest import Document, Manifest
from shardline.manifests.rules.rule import GRAPH, Finding, key, rule

_SOURCE = "inference_graph_validation.go"
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


@rule(GRAPH, source=_SOURCE)
def graph_name(graph: Manifest) -> Iterator[Finding]:
    """A graph's name is lower-case letters, digits and `-`, from a letter on."""
    if graph.name and not re.fullmatch(_NAME, graph.name):
        yield (
            "metadata.name",
            f'The InferenceGraph "{graph.name}" is invalid: a InferenceGraph name must consist of lower case '
            "alphanumeric characters or '-', and must start with alphabetical character. "
            f'(e.g. "my-name" or "abc-123", regex used for validation is \'{_NAME}\'): choose another name',
        )


@rule(GRAPH, source=_SOURCE)
def graph_root(graph: Manifest) -> Iterator[Finding]:
    """A graph has a node named `root`, where every request starts."""
    if ROOT not in graph.spec.get("nodes", {}):
        yield (
            "spec.nodes",
            "root node not found, InferenceGraph needs a node with name 'root' as the root node of the graph: "
            "rename the first node",
        )


@rule(GRAPH, source=_SOURCE)
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


@rule(GRAPH, source=_SOURCE)
def graph_step_target(graph: Manifest) -> Iterator[Finding]:
    """A step has exactly one of `nodeName`, `serviceName` and `serviceUrl`."""
    for node, index, path, step in steps(graph):
        found = [name for name in TARGETS if step.get(name)]
        step_of = f'Step {index} ("{step.get("name", "")}") in node "{node}" of InferenceGraph "{graph.name}"'
        if not found:
            yield path, f"{step_of} does not specify an inference target: give it a serviceName"
        elif len(found) > 1:
            yield path, f"{step_of} specifies more than one of nodeName, serviceName, serviceUrl: keep one"


@rule(GRAPH, source=_SOURCE)
def graph_splitter_weight(graph: Manifest) -> Iterator[Finding]:
    """Every step of a Splitter has a weight."""
    for node, _, path, step in steps(graph):
        if graph.spec["nodes"][node].get("routerType") == "Splitter" and "weight" not in step:
            route = f"InferenceGraph[{graph.name}] Node[{node}] Route[{step.get('serviceName', '')}]"
            yield f"{path}.weight", f"{route} missing the 'Weight': give it a percentage"


@rule(GRAPH, source=_SOURCE)
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
