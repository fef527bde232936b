"""The way in from outside the cluster."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from shardline.manifests.network import Exposure
from shardline.manifests.options import RenderOptions
from shardline.manifests.render import render
from shardline.storage.bundle import Bundle
from shardline.wire.errors import UsageError


def way_in(bundle: Bundle, exposure: Exposure, **options: Any) -> dict[str, Any]:
    *_, last = render(bundle, RenderOptions(storage="gs://b/m", exposure=exposure, **options))
    return last


@pytest.mark.parametrize(
    ("stages", "versioned", "service", "path"),
    [
        (3, False, "resnet50", "/"),
        (1, False, "resnet50-transformer", "/v1/models"),  # not /metrics, /openapi.json and /v2
        (1, True, "resnet50", "/"),
    ],
)
def test_an_ingress_leads_to_the_router_or_else_the_transformer(
    make_bundle: Callable[..., Bundle], stages: int, versioned: bool, service: str, path: str
) -> None:
    bundle = make_bundle(stages=stages)
    exposure = Exposure(host="net.example.com", ingress_class="nginx", tls_secret="net-tls")

    ingress = way_in(bundle, exposure, versioned=versioned)

    assert ingress["kind"] == "Ingress"
    assert ingress["metadata"]["name"] == "resnet50-public"  # KServe's own Ingress is named after the service
    backend = {"service": {"name": service, "port": {"number": 80}}}
    assert ingress["spec"] == {
        "ingressClassName": "nginx",
        "tls": [{"hosts": ["net.example.com"], "secretName": "net-tls"}],
        "rules": [
            {"host": "net.example.com", "http": {"paths": [{"path": path, "pathType": "Prefix", "backend": backend}]}}
        ],
    }


def test_an_ingress_lets_through_what_the_servers_take(make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle()
    annotations = way_in(bundle, Exposure(host="net.example.com"))["metadata"]["annotations"]

    assert annotations["nginx.ingress.kubernetes.io/proxy-body-size"] == str(bundle.limits.body_bytes)
    assert int(annotations["nginx.ingress.kubernetes.io/proxy-read-timeout"]) > 60


@pytest.mark.parametrize(
    ("gateway", "parent"),
    [("public", {"name": "public"}), ("infra/public", {"name": "public", "namespace": "infra"})],
)
def test_an_http_route_at_a_gateway(make_bundle: Callable[..., Bundle], gateway: str, parent: dict[str, str]) -> None:
    route = way_in(make_bundle(), Exposure(host="net.example.com", gateway=gateway))

    assert (route["apiVersion"], route["kind"]) == ("gateway.networking.k8s.io/v1", "HTTPRoute")
    assert route["spec"]["parentRefs"] == [parent]
    assert route["spec"]["hostnames"] == ["net.example.com"]
    [rule] = route["spec"]["rules"]
    assert rule["backendRefs"] == [{"name": "resnet50", "port": 80}]
    assert re.fullmatch(r"[1-9][0-9]*s", rule["timeouts"]["request"])


def test_none_unless_a_host_is_named(make_bundle: Callable[..., Bundle]) -> None:
    assert way_in(make_bundle(), Exposure())["kind"] == "InferenceGraph"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"host": "Net.example.com"}, "'Net.example.com' is not a host name"),
        ({"host": "a..b"}, "'a..b' is not a host name"),
        ({"gateway": "public"}, "give --ingress-host"),
        (
            {"host": "a.b", "gateway": "public", "tls_secret": "t"},
            "--gateway excludes --ingress-class and --tls-secret",
        ),
        ({"host": "a.b", "gateway": "in fra/public"}, "'in fra' is not an object's name"),
        ({"host": "a.b", "ingress_class": "Nginx"}, "'Nginx' is not an object's name"),
    ],
)
def test_what_leads_nowhere_is_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        Exposure(**options)
