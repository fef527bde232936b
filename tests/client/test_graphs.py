"""Which chain a name stands for, which stages a graph has, and whether its router is up to date."""

import json
from typing import Any

import pytest
from services import kserve_documents as kserve
from services.kserve_documents import chain, find

from shardline.client.cluster import connect
from shardline.client.graphs import find_chain, is_standard, router_is_stale, services_of
from shardline.wire.errors import ClusterError

VISION = kserve.NAMESPACE

OTHERWISE = "choose another --namespace or --context, or deploy a bundle first"


@pytest.mark.parametrize(
    ("documents", "name", "message"),
    [
        ([], None, f"namespace vision has no InferenceGraph and no InferenceService to ask: {OTHERWISE}"),
        (
            [kserve.graph("two"), kserve.graph("one")],
            None,
            "namespace vision has 2 InferenceGraphs (one, two): choose one by --name",
        ),
        (
            [kserve.service("b"), kserve.service("a")],
            None,
            "namespace vision has 2 InferenceServices (a, b): choose one by --name",
        ),
        (
            [kserve.graph("one"), kserve.graph("two")],
            "three",
            "namespace vision has no InferenceGraph or InferenceService 'three'; there is "
            "InferenceGraph one in namespace vision, InferenceGraph two in namespace vision",
        ),
        ([], "three", f"namespace vision has no InferenceGraph or InferenceService 'three': {OTHERWISE}"),
    ],
)
def test_which_chain_is_meant(kubernetes: Any, documents: list[Any], name: str | None, message: str) -> None:
    api = kubernetes(documents)

    with pytest.raises(ClusterError) as raised:
        find_chain(connect(api.kubeconfig), name, VISION)
    assert str(raised.value) == message


def test_a_graph_goes_before_a_service_of_the_same_name(kubernetes: Any) -> None:
    api = kubernetes([kserve.service("same"), kserve.graph("same"), kserve.service("single", transformer=True)])
    cluster = connect(api.kubeconfig)

    assert find_chain(cluster, "same", VISION).kind == "InferenceGraph"
    assert find_chain(cluster, None, VISION).service == "same"
    assert find_chain(cluster, "single", VISION).service == "single-transformer"


def test_nested_nodes_and_circles_are_walked_once() -> None:
    documents = chain()
    nodes = find(documents, "InferenceGraph", "resnet50")["spec"]["nodes"]
    root = nodes["root"]["steps"]
    nodes["inner"] = {"routerType": "Sequence", "steps": [root.pop(), {"name": "again", "nodeName": "root"}]}
    root += [{"name": "inner", "nodeName": "inner"}, {"name": "far", "serviceUrl": "http://elsewhere/"}]

    assert services_of(find(documents, "InferenceGraph", "resnet50")) == ["resnet50-s0", "resnet50-s1"]


def test_a_router_without_a_readable_graph_counts_as_up_to_date() -> None:
    """A Deployment of another KServe may start its router in another way."""
    graph = kserve.graph()
    deployment: dict[str, Any] = {"spec": {"template": {"spec": {"containers": [{"args": []}]}}}}
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert not router_is_stale(graph, deployment)
    container["args"] = ["--graph-json", "{"]
    assert not router_is_stale(graph, deployment)

    container["args"] = ["--graph-json", json.dumps({"nodes": {}})]
    assert router_is_stale(graph, deployment)


def test_the_deployment_mode_is_the_status_or_else_the_annotation() -> None:
    document: dict[str, Any] = {"metadata": {"annotations": {"serving.kserve.io/deploymentMode": "Serverless"}}}
    assert not is_standard(document)

    document["status"] = {"deploymentMode": "Standard"}
    assert is_standard(document)
    assert is_standard({"metadata": {}})
