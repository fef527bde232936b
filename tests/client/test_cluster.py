"""The Kubernetes API as commands meet it: what is asked of it, and what is said when it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
from services import kserve_documents as kserve

from shardline.client.cluster import connect
from shardline.wire.errors import ClusterDownError, ClusterError

VISION = kserve.NAMESPACE


def test_documents_are_found_by_name_and_by_labels(kubernetes: Any) -> None:
    api = kubernetes(kserve.chain(), token="secret")
    cluster = connect(api.kubeconfig)

    assert cluster.namespace == VISION
    graph = cluster.get("InferenceGraph", VISION, "resnet50")
    assert graph == kserve.graph()
    assert cluster.get("InferenceGraph", VISION, "other") is None
    assert cluster.get("InferenceGraph", "other", "resnet50") is None
    pods = cluster.select("Pod", VISION, labels="serving.kserve.io/inferenceservice=resnet50-s0")
    assert [(pod["kind"], pod["metadata"]["name"]) for pod in pods] == [
        ("Pod", "resnet50-s0-transformer-0"),
        ("Pod", "resnet50-s0-predictor-0"),
    ]
    assert cluster.select("ClusterServingRuntime", VISION) == []


def test_the_context_gives_the_namespace(kubernetes: Any) -> None:
    api = kubernetes()

    assert connect(api.kubeconfig, "elsewhere").namespace == "default"


def test_kubeconfig_is_found_as_kubectl_finds_it(kubernetes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    api = kubernetes()
    monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig))

    assert connect().server == api.url


def test_apply_is_server_side_and_strict(kubernetes: Any) -> None:
    api = kubernetes()
    cluster = connect(api.kubeconfig)
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"key": "value"}}
    applied = cluster.apply(document)

    assert applied["data"] == {"key": "value"}
    request = api.seen()[-1]
    assert (request["method"], request["type"]) == ("PATCH", "application/apply-patch+yaml")
    path, _, query = request["path"].partition("?")
    assert path == "/api/v1/namespaces/vision/configmaps/one"
    assert sorted(query.split("&")) == ["fieldManager=shardline", "fieldValidation=Strict", "force=false"]
    assert json.loads(request["body"]) == document


def test_a_dry_run_keeps_nothing(kubernetes: Any) -> None:
    api = kubernetes()
    cluster = connect(api.kubeconfig)
    cluster.apply(kserve.graph(), dry_run=True, force=True)

    assert cluster.get("InferenceGraph", VISION, "resnet50") is None
    query = next(request["path"] for request in api.seen() if request["method"] == "PATCH").partition("?")[2]
    assert {"dryRun=All", "force=true"} <= set(query.split("&"))


def test_documents_without_a_namespace_kind_go_nowhere(kubernetes: Any) -> None:
    api = kubernetes()
    connect(api.kubeconfig).apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "new"}})

    assert api.seen()[-1]["path"].startswith("/api/v1/namespaces/new?")


def test_patch_merges(kubernetes: Any) -> None:
    api = kubernetes([kserve.graph()])
    cluster = connect(api.kubeconfig)
    cluster.patch("InferenceGraph", VISION, "resnet50", {"spec": {"nodes": {}}})

    assert api.seen()[-1]["type"] == "application/merge-patch+json"
    found = cluster.get("InferenceGraph", VISION, "resnet50")
    assert found is not None
    assert found["spec"] == {"nodes": {}}


def test_delete_may_be_repeated(kubernetes: Any) -> None:
    api = kubernetes([kserve.graph()])
    cluster = connect(api.kubeconfig)

    assert cluster.delete("InferenceGraph", VISION, "resnet50", foreground=True)
    assert api.seen()[-1]["path"].endswith("/inferencegraphs/resnet50?propagationPolicy=Foreground")
    assert not cluster.delete("InferenceGraph", VISION, "resnet50")


def test_a_refusal_names_what_was_attempted(kubernetes: Any) -> None:
    api = kubernetes()
    cluster = connect(api.kubeconfig)
    api.refuse({"method": "PATCH", "path": "/inferencegraphs/", "status": 422, "message": "is invalid:\n  spec.nodes"})

    with pytest.raises(ClusterError, match=r"^apply InferenceGraph resnet50: is invalid: spec\.nodes \(422\)$"):
        cluster.apply(kserve.graph())


@pytest.mark.parametrize("status", [429, 503, 504])
def test_a_server_that_is_overloaded_does_not_refuse(kubernetes: Any, status: int) -> None:
    api = kubernetes()
    cluster = connect(api.kubeconfig)
    api.refuse({"method": "GET", "path": "/pods", "status": status, "message": "the server is currently unable"})

    with pytest.raises(ClusterDownError, match=rf"list Pods: the server is currently unable \({status}\)"):
        cluster.select("Pod", VISION)


def test_wrong_credentials(kubernetes: Any) -> None:
    api = kubernetes(token="right")
    api.kubeconfig.write_text(api.kubeconfig.read_text().replace("right", "wrong"))

    with pytest.raises(ClusterError, match=r"does not accept these credentials \(401\): log in again"):
        connect(api.kubeconfig).get("Pod", VISION, "p")


def test_kserve_is_not_installed(kubernetes: Any) -> None:
    api = kubernetes(absent=["serving.kserve.io"])

    with pytest.raises(ClusterError) as raised:
        connect(api.kubeconfig).apply(kserve.graph())
    expected = "has no InferenceGraph in serving.kserve.io/v1alpha1"
    assert str(raised.value) == f"KServe is not installed in this cluster: {api.url} {expected}"


def test_a_server_that_is_away(kubernetes: Any) -> None:
    api = kubernetes()
    cluster = connect(api.kubeconfig)
    api.stop()

    with pytest.raises(
        ClusterDownError, match=r"look up v1: http://127\.0\.0\.1:\d+ does not answer \(Connection refused\)"
    ):
        cluster.get("Pod", VISION, "p")


def test_a_server_of_another_kind(serve: Any, kubernetes: Any) -> None:
    api = kubernetes()
    other = serve({"GET /api/v1": [{"text": "<html>welcome"}]})
    api.kubeconfig.write_text(api.kubeconfig.read_text().replace(api.url, other.url))

    with pytest.raises(ClusterError, match="not a Kubernetes API server: it answered b'<html>welcome'"):
        connect(api.kubeconfig).get("Pod", VISION, "p")


def test_a_certificate_that_nobody_signed(kubernetes: Any, certificate: Path) -> None:
    api = kubernetes(certificate=str(certificate))
    config = json.loads(api.kubeconfig.read_text())
    del config["clusters"][0]["cluster"]["certificate-authority"]
    api.kubeconfig.write_text(json.dumps(config))

    with pytest.raises(ClusterDownError, match="CERTIFICATE_VERIFY_FAILED"):
        connect(api.kubeconfig).get("Pod", VISION, "p")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "file is empty"),
        ("[1, 2]", "kubeconfig"),
        ("{", "kubeconfig"),
        ('{"current-context": "x", "contexts": [], "clusters": [], "users": []}', "Expected object with name x"),
    ],
)
def test_invalid_kubeconfigs(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)

    with pytest.raises(ClusterError, match=message) as raised:
        connect(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_credential_plugin(kubernetes: Any) -> None:
    api = kubernetes()
    config = json.loads(api.kubeconfig.read_text())
    plugin = {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": "no-such-auth-plugin"}
    config["users"][0]["user"] = {"exec": plugin}
    api.kubeconfig.write_text(json.dumps(config))

    with pytest.raises(ClusterError, match=r"no credentials: .*no-such-auth-plugin"):
        connect(api.kubeconfig)


def test_no_kubeconfig_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)

    with pytest.raises(ClusterError, match=r"no kubeconfig: .*none does not exist; pass --kubeconfig"):
        connect()


def test_a_pod_without_a_service_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")

    with pytest.raises(ClusterError, match=r"this pod has no service account .* \(automountServiceAccountToken\)"):
        connect()
