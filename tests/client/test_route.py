"""Routes to a chain: through the ingress, to the Service itself, or by a port-forward."""

from typing import Any

import kubernetes as library
import pytest
from services import kserve_documents as kserve

from shardline.client.cluster import Cluster, connect
from shardline.client.graphs import find_chain
from shardline.client.route import open_route
from shardline.wire.errors import UsageError

VISION = kserve.NAMESPACE


def inside(url: str) -> Cluster:
    """A connection as from a pod of that cluster."""
    configuration = library.client.Configuration(host=url)
    return Cluster(library, configuration, namespace=VISION, in_cluster=True)


def url_inside(api: Any, name: str) -> str:
    cluster = inside(api.url)
    with open_route(cluster, find_chain(cluster, name, VISION)) as route:
        assert route.headers == {}
        return route.url


def test_inside_the_cluster_the_service_is_asked(kubernetes: Any) -> None:
    api = kubernetes([*kserve.chain(), *kserve.stage("single", transformer=True), *kserve.stage("bare")])

    assert url_inside(api, "resnet50") == "http://resnet50.vision.svc"
    assert url_inside(api, "single") == "http://single-transformer.vision.svc"
    assert url_inside(api, "bare") == "http://bare-predictor.vision.svc"


def test_a_headless_service_has_the_ports_of_its_pods(kubernetes: Any) -> None:
    documents = kserve.chain()
    kserve.find(documents, "Service", "resnet50")["spec"]["clusterIP"] = "None"

    assert url_inside(kubernetes(documents), "resnet50") == "http://resnet50.vision.svc:8080"


def test_services_need_not_be_readable(kubernetes: Any) -> None:
    api = kubernetes(kserve.chain())
    api.refuse({"method": "GET", "path": "/services/", "status": 403, "message": "services is forbidden"})

    assert url_inside(api, "resnet50") == "http://resnet50.vision.svc"


def test_outside_the_cluster_a_port_forward_is_opened(kubernetes: Any) -> None:
    api = kubernetes(kserve.chain())
    cluster = connect(api.kubeconfig)
    with open_route(cluster, find_chain(cluster, None, VISION)) as route:
        assert route.url.startswith("http://127.0.0.1:")


def test_an_ingress_that_is_not_a_url(kubernetes: Any) -> None:
    api = kubernetes(kserve.chain())
    cluster = connect(api.kubeconfig)

    with (
        pytest.raises(UsageError, match="is not a URL"),
        open_route(cluster, find_chain(cluster, None, VISION), "x y"),
    ):
        pass
