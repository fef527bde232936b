"""One-line messages for errors of the Kubernetes API and of connections."""

import json

import pytest
import requests

from shardline.client.remedies import api_error, is_missing, kind_not_installed, one_line, root_cause

ACTION = "apply InferenceGraph resnet50"
DENIED = (
    'admission webhook "inferencegraph.kserve-webhook-server.validator" denied the request: '
    "root node not found, InferenceGraph needs a node with name 'root' as the root node of the graph"
)


CALL = (
    'Internal error occurred: failed calling webhook "inferenceservice.kserve-webhook-server.defaulter": '
    'failed to call webhook: Post "https://kserve-webhook-server-service.kserve.svc:443/mutate": connection refused'
)


FORBIDDEN = 'inferencegraphs.serving.kserve.io "resnet50" is forbidden: User "eve" cannot patch resource'


CONFLICT = 'Apply failed with 1 conflict: conflict with "kubectl": .spec.nodes'


@pytest.mark.parametrize(
    ("status", "message", "line"),
    [
        (403, DENIED, DENIED),
        (400, DENIED, DENIED),
        (500, CALL, f"{CALL}: is KServe's controller running? (kubectl get pods --all-namespaces | grep kserve)"),
        (
            403,
            FORBIDDEN,
            f"{FORBIDDEN} (403): ask for a role that allows it, or choose another --context or --namespace",
        ),
        (
            404,
            'namespaces "vision" not found',
            'namespaces "vision" not found: create it with kubectl create namespace, or choose another --namespace',
        ),
        (
            409,
            CONFLICT,
            f"{CONFLICT}: another tool owns these fields; leave them to it, or force the apply",
        ),
        (422, 'InferenceGraph "resnet50" is invalid:\n  spec.nodes: Required', None),
        (500, "etcdserver: request timed out", "etcdserver: request timed out (500)"),
    ],
)
def test_errors_of_the_api_are_one_line_with_a_remedy(status: int, message: str, line: str | None) -> None:
    body = json.dumps({"kind": "Status", "message": message, "code": status})
    expected = line or f"{' '.join(message.split())} ({status})"

    assert api_error(ACTION, status, body, server="https://api") == f"{ACTION}: {expected}"
    assert api_error(ACTION, status, body.encode(), server="https://api") == f"{ACTION}: {expected}"


def test_bodies_that_are_no_status_are_shown_from_their_start() -> None:
    assert api_error(ACTION, 502, "<html>\n bad  gateway", server="s") == f"{ACTION}: <html> bad gateway (502)"
    assert api_error(ACTION, 500, "", server="s") == f"{ACTION}: HTTP 500 (500)"
    assert "log in again" in api_error(ACTION, 401, "{}", server="s")


def test_a_missing_namespace_is_not_a_missing_object() -> None:
    assert is_missing(404, json.dumps({"message": 'pods "x" not found'}))
    assert not is_missing(404, json.dumps({"message": 'namespaces "x" not found'}))
    assert not is_missing(403, "{}")


def test_products_are_named_where_their_kinds_are_missing() -> None:
    assert kind_not_installed("keda.sh/v1alpha1", "ScaledObject", "s").startswith("KEDA is not installed")
    assert kind_not_installed("x.org/v1", "X", "s") == "s has no X in x.org/v1"


def test_the_operating_systems_message_is_found_below_the_libraries() -> None:
    with pytest.raises(requests.ConnectionError) as raised:
        requests.get("http://127.0.0.1:1", timeout=5)

    assert root_cause(raised.value) == "Connection refused"
    assert root_cause(ValueError("odd\n text")) == "odd text"
    assert root_cause(ValueError()) == "ValueError"
    assert one_line("a " * 10, 5) == "a a …"
