"""Who reaches whom: the policies, evaluated as Kubernetes does, over the labels that KServe gives to the pods."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from shardline.manifests.network import Network
from shardline.manifests.options import RenderOptions
from shardline.manifests.render import render
from shardline.storage.bundle import Bundle
from shardline.wire.errors import UsageError

Labels = dict[str, str]
STRANGER = {"app": "stranger"}
HTTP = {"port": 8080, "protocol": "TCP"}


def pods(rendered: list[dict[str, Any]]) -> Iterator[tuple[str, Labels]]:
    """Each pod's name and labels, as KServe's controllers make them (predictor.go buildObjectMeta, raw_ig.go)."""
    for document in rendered:
        name, labels = document["metadata"]["name"], document["metadata"]["labels"]
        if document["kind"] == "InferenceGraph":
            yield "router", labels | {"serving.kserve.io/inferencegraph": name}
        if document["kind"] == "InferenceService":
            for component in document["spec"]:
                own = {"serving.kserve.io/inferenceservice": name, "component": component}
                yield f"{component} {labels['shardline/stage']}", labels | own


def selects(selector: Mapping[str, Any], labels: Labels) -> bool:
    for expression in selector.get("matchExpressions", []):
        if expression["operator"] == "DoesNotExist":
            if expression["key"] in labels:
                return False
        else:
            assert expression["operator"] == "NotIn"
            if labels.get(expression["key"]) in expression["values"]:
                return False
    return bool(selector.get("matchLabels", {}).items() <= labels.items())


def may(rendered: list[dict[str, Any]], source: Labels, target: Labels, *, namespace: str = "default") -> bool:
    """No policy for a pod: all may. Else any that lets the source in, and any that lets it out, on port 8080."""
    specs = [document["spec"] for document in rendered if document["kind"] == "NetworkPolicy"]
    into = [spec["ingress"] for spec in specs if selects(spec["podSelector"], target)]
    out = [spec["egress"] for spec in specs if "egress" in spec and selects(spec["podSelector"], source)]
    assert all("8080" in str(rule["ports"]) for rules in into for rule in rules)
    return _allows(into, "from", source, namespace) and _allows(out, "to", target, "default")


def _allows(rules: list[list[dict[str, Any]]], peers: str, labels: Labels, namespace: str) -> bool:
    here = [rule for some in rules for rule in some if rule.get("ports", [HTTP]) == [HTTP]]
    return (
        not rules
        or any(peers not in rule for rule in here)
        or any(_lets_in(peer, labels, namespace) for rule in here for peer in rule[peers])
    )


def _lets_in(peer: Mapping[str, Any], source: Labels, namespace: str) -> bool:
    if "namespaceSelector" in peer:
        return selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": namespace})
    return namespace == "default" and selects(peer["podSelector"], source)


def reached(rendered: list[dict[str, Any]]) -> set[tuple[str, str]]:
    named = list(pods(rendered))
    pairs = {(a, b) for a, source in named for b, target in named if a != b and may(rendered, source, target)}
    pairs |= {(a, "stranger") for a, source in named if may(rendered, source, STRANGER)}
    return pairs | {("stranger", b) for b, target in named if may(rendered, STRANGER, target)}


@pytest.mark.parametrize("versioned", [False, True])
def test_only_the_router_and_the_transformer_reach_stages(make_bundle: Callable[..., Bundle], versioned: bool) -> None:
    rendered = render(
        make_bundle(stages=3), RenderOptions(transformer_as="component", storage="gs://b/m", versioned=versioned)
    )
    stages = [f"predictor {i}" for i in range(3)]
    anyone = {(name, "router") for name in ("stranger", *stages)}
    outside = {(name, "stranger") for name in stages}  # a bucket

    assert reached(rendered) == anyone | outside | {
        ("router", "transformer 0"),
        ("transformer 0", "predictor 0"),
        ("router", "predictor 1"),
        ("router", "predictor 2"),
    }


def test_without_a_graph_the_transformer_is_the_way_in(make_bundle: Callable[..., Bundle]) -> None:
    rendered = render(make_bundle(stages=1), RenderOptions(transformer_as="component", storage="gs://b/m"))

    assert reached(rendered) == {
        ("stranger", "transformer 0"),
        ("predictor 0", "transformer 0"),
        ("transformer 0", "predictor 0"),
        ("predictor 0", "stranger"),
    }


def test_another_chain_is_a_stranger(make_bundle: Callable[..., Bundle]) -> None:
    ours = render(make_bundle(), RenderOptions(transformer_as="component", storage="gs://b/m"))
    theirs = dict(
        pods(render(make_bundle(name="other"), RenderOptions(transformer_as="component", storage="gs://b/m")))
    )

    for name, target in pods(ours):
        assert may(ours, theirs["router"], target) == (name == "router")


def test_a_namespace_that_is_let_in_reaches_all(make_bundle: Callable[..., Bundle]) -> None:
    options = RenderOptions(
        transformer_as="component", storage="gs://b/m", network=Network(allow_namespaces=("monitoring",))
    )
    rendered = render(make_bundle(), options)

    for name, target in pods(rendered):
        assert may(rendered, STRANGER, target, namespace="monitoring")
        assert may(rendered, STRANGER, target, namespace="elsewhere") == (name == "router")


def test_no_policies_if_they_are_not_wanted(make_bundle: Callable[..., Bundle]) -> None:
    rendered = render(
        make_bundle(), RenderOptions(transformer_as="component", storage="gs://b/m", network=Network(policies=False))
    )

    assert "NetworkPolicy" not in {document["kind"] for document in rendered}


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(UsageError, match="'A b' is not a namespace"):
        Network(allow_namespaces=("A b",))
    with pytest.raises(UsageError, match="--allow-namespace needs NetworkPolicies: leave it out"):
        Network(policies=False, allow_namespaces=("monitoring",))
