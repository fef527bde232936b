"""A port here that leads to pods: many connections, large bodies, pods that go away."""

import socket
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from services import kserve_documents as kserve
from services.processes import free_port, wait_until

from shardline.client.cluster import connect
from shardline.client.port_forward import PortForward, target_port
from shardline.wire.errors import ClusterError

NAME = "resnet50"


def backed(pod: dict[str, Any], url: str, port: int = 8080) -> dict[str, Any]:
    """The pod's port is the server's at `url`."""
    pod["metadata"]["annotations"][f"test/port-{port}"] = url.rpartition(":")[2]
    return pod


def behind(*urls: str) -> list[dict[str, Any]]:
    """A Service with a ready pod for each server."""
    labels = {"app": f"isvc.{NAME}"}
    pods = [backed(kserve.pod(f"{NAME}-{index}", labels), url) for index, url in enumerate(urls)]
    return [kserve.kubernetes_service(NAME), *pods]


def forward_to(api: Any) -> PortForward:
    return PortForward(connect(api.kubeconfig), kserve.NAMESPACE, NAME)


def test_large_bodies_come_through_whole(kubernetes: Any, serve: Any) -> None:
    body = bytes(range(256)) * 4 * 6 * 1024  # 6 MB
    text = "A large reply, of a length that no buffer has. "
    server = serve({"POST /": [{"text": text, "repeat": 100_000}]})
    with forward_to(kubernetes(behind(server.url), token="t")) as forward:
        reply = requests.post(forward.url, data=body, timeout=30)

    assert reply.text == text * 100_000
    (seen,) = server.requests()
    assert seen.body == body


def test_over_tls_too(kubernetes: Any, serve: Any, certificate: Path) -> None:
    """TLS decrypts more than is read: what is left in its buffer must not be waited for."""
    server = serve({"POST /": [{"text": "x", "repeat": 2_000_000}]})
    with (
        forward_to(kubernetes(behind(server.url), certificate=str(certificate))) as forward,
        requests.Session() as session,
    ):
        replies = [session.post(forward.url, data=b"y" * 2_000_000, timeout=30).text for _ in range(3)]

    assert replies == ["x" * 2_000_000] * 3


def test_connections_spread_over_the_pods(kubernetes: Any, serve: Any) -> None:
    servers = [serve({"GET /": [{"text": str(index)}]}) for index in range(2)]
    with forward_to(kubernetes(behind(*(server.url for server in servers)))) as forward:

        def ask(_: int) -> str:
            return requests.get(forward.url, timeout=30).text

        with ThreadPoolExecutor(8) as pool:
            texts = Counter(pool.map(ask, range(20)))

    assert texts == {"0": 10, "1": 10}


def test_a_pod_that_goes_away_is_followed_by_another(kubernetes: Any, serve: Any) -> None:
    first, second = serve({"GET /": [{"text": "first"}]}), serve({"GET /": [{"text": "second"}]})
    api = kubernetes(behind(first.url))
    with forward_to(api) as forward:
        assert requests.get(forward.url, timeout=30).text == "first"
        successor = backed(kserve.pod("successor", {"app": f"isvc.{NAME}"}), second.url)
        api.put([kserve.kubernetes_service(NAME), successor])

        assert requests.get(forward.url, timeout=30).text == "second"


def test_a_pod_that_refuses_is_passed_over(kubernetes: Any, serve: Any) -> None:
    """It is still listed as ready while it ends."""
    server = serve({"GET /": [{"text": "there"}]})
    api = kubernetes(behind("http://127.0.0.1:1", server.url))
    gone = {"method": "GET", "path": f"/pods/{NAME}-0/portforward", "status": 404, "message": "pods not found"}
    api.refuse(gone, gone)
    with forward_to(api) as forward:
        texts = {requests.get(forward.url, timeout=30).text for _ in range(2)}

    assert texts == {"there"}


def test_nothing_listens_in_the_pod(kubernetes: Any) -> None:
    with forward_to(kubernetes(behind(f"http://127.0.0.1:{free_port()}"))) as forward:
        reply = requests.get(forward.url, timeout=30)

    assert reply.status_code == 503
    assert reply.headers["Retry-After"] == "1"
    cause = "error forwarding port 8080 to pod: Connect call failed"
    assert reply.json()["error"].startswith(f"port-forward: port 8080 of pod {NAME}-0: {cause[:37]}")


def test_no_pod_is_ready(kubernetes: Any) -> None:
    documents = kserve.chain()
    pod = kserve.away(documents, NAME)
    pod["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": "ErrImagePull", "message": "not found"}}
    with forward_to(kubernetes(documents)) as forward:
        reply = requests.get(forward.url, timeout=30)

    assert reply.status_code == 503
    assert reply.json() == {
        "error": f"port-forward: Service {NAME} has no ready pod: kserve-container ErrImagePull: not found"
    }


def test_what_is_forbidden_is_said(kubernetes: Any, serve: Any) -> None:
    server = serve({})
    api = kubernetes(behind(server.url))
    message = 'pods "resnet50-0" is forbidden: User "eve" cannot get resource "pods/portforward"'
    api.refuse({"method": "GET", "path": "portforward", "status": 403, "message": message})
    with forward_to(api) as forward:
        reply = requests.get(forward.url, timeout=30)

    assert reply.json()["error"].startswith(f"port-forward: forward port 8080 of pod resnet50-0: {message} (403)")


def test_a_connection_that_breaks_off_ends_for_the_client(kubernetes: Any, serve: Any) -> None:
    server = serve({"GET /": [{"hang": True}]})
    api = kubernetes(behind(server.url))
    with forward_to(api) as forward, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(requests.get, forward.url, timeout=60)
        server.next_request()
        api.cut()

        with pytest.raises((requests.ConnectionError, AssertionError)):
            assert asked.result(30).status_code == 200


def test_a_client_that_goes_away_lets_the_pod_go(kubernetes: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        api = kubernetes(behind(f"http://127.0.0.1:{listener.getsockname()[1]}"))
        with forward_to(api) as forward:
            port = int(forward.url.rpartition(":")[2])
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(b"hello")
                pod, _ = listener.accept()
                pod.settimeout(30)
                assert pod.recv(5) == b"hello"
            with pod:
                assert pod.recv(1) == b""


def test_closing_leaves_nothing(kubernetes: Any, serve: Any) -> None:
    server = serve({"GET /": [{"hang": True}]})
    before = set(threading.enumerate())
    forward = forward_to(kubernetes(behind(server.url)))
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(requests.get, forward.url, timeout=60)
        server.next_request()
        forward.close()
        with pytest.raises(requests.ConnectionError):
            asked.result(30)

    wait_until(lambda: set(threading.enumerate()) <= before, "threads end", deadline_s=30)
    with pytest.raises(requests.ConnectionError):
        requests.get(forward.url, timeout=5)


def test_ports_by_number_and_name() -> None:
    pod = kserve.pod("p", {})

    assert target_port(kserve.kubernetes_service("s", target=9000), pod, 80) == 9000
    assert target_port(kserve.kubernetes_service("s", target="http"), pod, 80) == 8080
    with pytest.raises(ClusterError, match="pod p has no port 'grpc'"):
        target_port(kserve.kubernetes_service("s", target="grpc"), pod, 80)
    with pytest.raises(ClusterError, match="Service s has no port 443"):
        target_port(kserve.kubernetes_service("s"), pod, 443)
