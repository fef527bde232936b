"""`--kserve` as users run it, against a scripted cluster."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from services import kserve_documents as kserve

VISION = kserve.NAMESPACE


def served(documents: list[dict[str, Any]], url: str, name: str = "resnet50") -> list[dict[str, Any]]:
    """The pods behind Service `name` are the server at `url`."""
    for document in documents:
        if document["kind"] == "Pod" and document["metadata"]["labels"].get("app") == f"isvc.{name}":
            document["metadata"]["annotations"]["test/port-8080"] = url.rpartition(":")[2]
    return documents


def test_the_only_graph_is_asked_through_a_port_forward(
    client: Any, kubernetes: Any, serve: Any, photo: Path, answer: Any
) -> None:
    server = serve({"POST /": [answer]})
    api = kubernetes(served(kserve.chain(), server.url), token="t")
    result = client(photo, "--kserve", "--kubeconfig", api.kubeconfig, "--json")

    assert (result.code, result.err) == (0, "")
    assert json.loads(result.out)["predictions"] == answer["json"]["predictions"]
    (seen,) = server.requests()
    assert seen.body == photo.read_bytes()


def test_many_pictures_at_once(client: Any, kubernetes: Any, serve: Any, photos: Path) -> None:
    server = serve({"POST /": [{"json": {"predictions": [{"bytes": "SIZE"}]}}]})
    api = kubernetes(served(kserve.chain(replicas=2), server.url))
    result = client(photos, "--kserve", "--kubeconfig", api.kubeconfig, "--json", "--jobs", 4)

    assert (result.code, result.err) == (0, "")
    sizes = [json.loads(line)["predictions"][0]["bytes"] for line in result.out.splitlines()]
    assert len(sizes) == 4
    assert all(int(size) > 0 for size in sizes)


def test_the_ingress_gets_the_hosts_name_and_the_token(
    client: Any, kubernetes: Any, serve: Any, photo: Path, answer: Any, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("ey.J\n")
    ingress = serve({"POST /": [answer]})
    api = kubernetes(kserve.chain())
    result = client(
        *(photo, "--kserve", "--kubeconfig", api.kubeconfig, "--name", "resnet50", "--namespace", VISION),
        *("--ingress", ingress.url, "--token-file", tmp_path / "token"),
    )

    assert (result.code, result.err) == (0, "")
    (seen,) = ingress.requests()
    assert seen.headers["Host"] == "resnet50-vision.example.com"
    assert seen.headers["Authorization"] == "Bearer ey.J"
    assert not [request for request in api.seen() if "portforward" in request["path"]]


def test_the_ingress_may_tell_chains_apart_by_path(
    client: Any, kubernetes: Any, serve: Any, photo: Path, answer: Any
) -> None:
    documents = kserve.chain()
    documents[0]["status"]["url"] = "http://models.example.com/serving/vision/resnet50/"
    ingress = serve({"POST /serving/vision/resnet50": [answer]})
    api = kubernetes(documents)
    result = client(photo, "--kserve", "--kubeconfig", api.kubeconfig, SHARDLINE_INGRESS=ingress.url + "/")

    assert (result.code, result.err) == (0, "")


def test_one_service_without_a_graph(client: Any, kubernetes: Any, serve: Any, photo: Path, answer: Any) -> None:
    refused = {"status": 405, "json": {"detail": "Method Not Allowed"}}
    models = {"GET /v1/models": [{"json": {"models": ["single"]}}], "POST /v1/models/single:predict": [answer]}
    server = serve({"POST /": [refused], **models})
    foreign = kserve.service("foreign")
    foreign["metadata"]["labels"] = {}
    documents = [*kserve.stage("single", transformer=True), kserve.runtime(), foreign]
    api = kubernetes(served(documents, server.url, "single-transformer"))
    result = client(photo, "--kserve", "--kubeconfig", api.kubeconfig)

    assert (result.code, result.err) == (0, "")


def test_it_waits_until_every_stage_is_ready_and_reports_which(
    command: list[str], kubernetes: Any, serve: Any, photo: Path, answer: Any
) -> None:
    server = serve({"POST /": [answer]})
    waiting = served(kserve.chain(), server.url)
    kserve.away(waiting, "resnet50-s1-predictor")
    api = kubernetes(waiting)
    arguments = [str(photo), "--kserve", "--kubeconfig", str(api.kubeconfig)]
    process = subprocess.Popen([*command, *arguments], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stderr is not None
    line = process.stderr.readline()
    api.put(served(kserve.chain(), server.url))
    out, err = process.communicate(timeout=60)

    assert line == (
        "waiting for InferenceGraph resnet50 in namespace vision: "
        "stage 1 resnet50-s1: predictor 0/1: kserve-container is running, not ready yet\n"
    )
    assert (process.returncode, err) == (0, "")
    assert "Egyptian cat" in out


def test_a_stage_that_does_not_get_ready_in_time(client: Any, kubernetes: Any, photo: Path) -> None:
    documents = kserve.chain()
    pod = kserve.away(documents, "resnet50-s1-predictor")
    error = "error: stage 1: weights.safetensors: its sha256 is not the manifest's"
    pod["status"]["containerStatuses"][0] |= {
        "restartCount": 1,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message": error}},
    }
    api = kubernetes(documents)
    result = client(photo, "--kserve", "--kubeconfig", api.kubeconfig, "--wait", 0)

    assert (result.code, result.out) == (3, "")
    assert result.err.splitlines()[-1] == (
        "error: resnet50 in namespace vision is not ready after 0 s: stage 1 resnet50-s1: predictor 0/1: "
        f"kserve-container CrashLoopBackOff (exit 1, 1 restart): {error}"
    )


def test_one_of_two_replicas_away_is_asked_at_once(
    client: Any, kubernetes: Any, serve: Any, photo: Path, answer: Any
) -> None:
    server = serve({"POST /": [answer]})
    documents = served(kserve.chain(replicas=2), server.url)
    kserve.away(documents, "resnet50-s1-predictor", available=1)
    api = kubernetes(documents)
    result = client(photo, "--kserve", "--kubeconfig", api.kubeconfig, "--wait", 0)

    assert (result.code, result.err) == (0, "")


def test_an_api_server_that_is_away_for_a_moment_is_asked_again(
    client: Any, kubernetes: Any, serve: Any, photo: Path, answer: Any
) -> None:
    server = serve({"POST /": [answer]})
    api = kubernetes(served(kserve.chain(), server.url))
    api.refuse({"method": "GET", "path": "/pods", "status": 503, "message": "apiserver is shutting down", "times": 1})
    result = client(photo, "--kserve", "--kubeconfig", api.kubeconfig)

    assert (result.code, result.err) == (0, "")
    assert len([request for request in api.seen() if request["path"].endswith("/inferenceservices")]) == 2


def test_no_chain_is_one_line(client: Any, kubernetes: Any, photo: Path) -> None:
    api = kubernetes([kserve.graph()])
    result = client(photo, "--kserve", "--kubeconfig", api.kubeconfig, "-n", "other")

    assert (result.code, result.out) == (3, "")
    message = "error: namespace other has no InferenceGraph and no InferenceService to ask: choose another --namespace"
    assert result.err == f"{message} or --context, or deploy a bundle first\n"


def test_a_chain_without_a_url_has_no_host_for_the_ingress(client: Any, kubernetes: Any, photo: Path) -> None:
    documents = kserve.chain()
    del documents[0]["status"]["url"]
    api = kubernetes(documents)
    result = client(photo, "--kserve", "--kubeconfig", api.kubeconfig, "--ingress", "http://127.0.0.1:1")

    assert result.code == 3
    assert "InferenceGraph resnet50 in namespace vision has no status.url yet" in result.err


def test_the_package_is_missing(kubernetes: Any, photo: Path) -> None:
    """As on a machine with nothing but requests, numpy and Pillow."""
    api = kubernetes(kserve.chain())
    program = (
        "import sys; sys.modules['kubernetes'] = None\n"
        "from shardline.client.request import main\nsys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", program, str(photo), "--kserve", "--kubeconfig", str(api.kubeconfig)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60)

    assert done.returncode == 3
    assert done.stderr == "error: access to a cluster needs one more package: pip install kubernetes\n"
