"""Port-forward from a local port to a ready pod behind a Service, as `kubectl port-forward` does.

Unlike there, a pod is chosen for each connection: when one goes away the next connection finds another, and several
connections spread over all pods. If no connection to a pod is possible, the local client gets a 503 with the reason, as
from a server that is away: HTTP clients then try again or show why.

The kubernetes package opens the websocket, with the kubeconfig's credentials, certificates and proxy. Its own forwarder
on top of that is not used: a connection that breaks leaves its thread with a traceback and the caller waiting, and it
changes the API client while others use it.
"""

import itertools
import json
import selectors
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, suppress
from typing import TYPE_CHECKING, Any

from shardline.client.diagnosis import is_ready, pods_problem
from shardline.client.labels import Document
from shardline.client.remedies import api_error, one_line, root_cause
from shardline.wire.errors import ClusterDownError, ClusterError

if TYPE_CHECKING:
    from shardline.client.cluster import Cluster

_PROTOCOL = "v4.channel.k8s.io"
_DATA_CHANNEL, _ERROR_CHANNEL = 0, 1
_CHUNK_BYTES = 256 * 1024
_POLL_S = 0.1  # how long close() may wait for the listener


class PortForward(AbstractContextManager["PortForward"]):
    """Local listener whose connections lead to port `port` of Service `service`; `url` is its address."""

    def __init__(self, cluster: "Cluster", namespace: str, service: str, port: int = 80) -> None:
        self._backends = Backends(cluster, namespace, service, port)
        self._open: set[socket.socket] = set()
        forward = self

        class ConnectionHandler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                forward._serve(self.request)

        self._server = _LocalServer(("127.0.0.1", 0), ConnectionHandler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_POLL_S,), daemon=True)
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Accept no more connections and end the open ones."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        for local in list(self._open):
            with suppress(OSError):
                local.shutdown(socket.SHUT_RDWR)

    def _serve(self, local: socket.socket) -> None:
        """Serve one local connection until it ends."""
        self._open.add(local)
        try:
            with closing(self._backends.connect()) as remote:
                _copy_both_ways(local, remote)
        except ClusterError as exc:
            with suppress(OSError):
                local.sendall(_unavailable(str(exc)))
        except OSError:
            pass  # the client went away
        finally:
            self._open.discard(local)


class _LocalServer(socketserver.ThreadingTCPServer):
    daemon_threads = True  # a program that ends does not wait for connections
    request_queue_size = 128


class Backends:
    """The ready pods behind a Service, taken in turn."""

    def __init__(self, cluster: "Cluster", namespace: str, service: str, port: int) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._service = service
        self._port = port
        self._turn = itertools.count()

    def connect(self) -> "PodPort":
        """Connect to the next pod that accepts a connection.

        Raises:
            ClusterError: no pod accepts one; the message has the reason.
        """
        refused: ClusterError | None = None
        for pod, port in self._in_turn():
            try:
                return open_pod_port(self._cluster, self._namespace, pod, port)
            except ClusterError as exc:
                refused = exc
        raise refused or ClusterError(f"Service {self._service} has no ready pod")

    def _in_turn(self) -> Iterator[tuple[str, int]]:
        service = self._cluster.get("Service", self._namespace, self._service)
        if service is None:
            raise ClusterError(f"there is no Service {self._service} in namespace {self._namespace}")
        pods = self._cluster.select("Pod", self._namespace, labels=_selector(service))
        ready = sorted((pod for pod in pods if is_ready(pod)), key=lambda pod: str(pod["metadata"]["name"]))
        if not ready:
            raise ClusterError(
                f"Service {self._service} has no ready pod: {pods_problem(pods) or 'it has no pods at all'}"
            )
        first = next(self._turn) % len(ready)
        for pod in ready[first:] + ready[:first]:
            yield pod["metadata"]["name"], target_port(service, pod, self._port)


def target_port(service: Document, pod: Document, port: int) -> int:
    """Port of the pod behind a port of a Service, which may name a container's port.

    Raises:
        ClusterError: the Service or the pod does not have it.
    """
    found = next((entry for entry in service["spec"].get("ports") or [] if entry["port"] == port), None)
    if found is None:
        raise ClusterError(f"Service {service['metadata']['name']} has no port {port}")
    target = found.get("targetPort", port)
    if isinstance(target, int):
        return target
    containers = pod["spec"].get("containers") or []
    ports = [entry for container in containers for entry in container.get("ports") or []]
    named = [entry for entry in ports if entry.get("name") == target]
    if not named:
        raise ClusterError(f"pod {pod['metadata']['name']} has no port {target!r}")
    return int(named[0]["containerPort"])


def _selector(service: Document) -> str:
    selector = service["spec"].get("selector")
    if not selector:
        raise ClusterError(f"Service {service['metadata']['name']} selects no pods")
    return ",".join(f"{key}={value}" for key, value in selector.items())


def _copy_both_ways(local: socket.socket, remote: "PodPort") -> None:
    """Copy bytes both ways until one end is done. A pod's error before its first byte is raised for the caller."""
    begun = False
    with selectors.DefaultSelector() as selector:
        selector.register(local, selectors.EVENT_READ)
        selector.register(remote, selectors.EVENT_READ)
        while True:
            ready = [remote] if remote.pending() else [key.fileobj for key, _ in selector.select()]
            if local in ready:
                data = local.recv(_CHUNK_BYTES)
                if not data:
                    return
                remote.send(data)
            if remote in ready:
                try:
                    received = remote.receive()
                except ClusterError:
                    if begun:
                        return  # half a response: the client sees that the connection breaks
                    raise
                if received is None:
                    return
                begun = begun or bool(received)
                local.sendall(received)


def _unavailable(reason: str) -> bytes:
    body = json.dumps({"error": f"port-forward: {reason}"}).encode()
    head = (
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
        f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def open_pod_port(cluster: "Cluster", namespace: str, pod: str, port: int) -> "PodPort":
    """Open a connection to a port of a pod, through the API server's websocket.

    Raises:
        ClusterError: the API server refuses; ClusterDownError: it does not answer.
    """
    from kubernetes.stream import ws_client
    from websocket import WebSocketException

    configuration, name = cluster.configuration, f"port {port} of pod {pod}"
    token = configuration.auth_settings().get("BearerToken", {}).get("value")
    headers = {"sec-websocket-protocol": _PROTOCOL} | ({"authorization": token} if token else {})
    path = f"{cluster.pod_path(namespace, pod)}/portforward?ports={port}"
    url = ws_client.get_websocket_url(configuration.host + path)  # type: ignore[no-untyped-call]  # kubernetes has no types
    try:
        return PodPort(ws_client.create_websocket(configuration, url, headers), name)  # type: ignore[no-untyped-call]  # kubernetes has no types
    except (WebSocketException, OSError, ValueError) as exc:
        status = getattr(exc, "status_code", None)
        if status is None:
            raise ClusterDownError(f"{name}: {configuration.host} does not answer ({root_cause(exc)})") from exc
        body = getattr(exc, "resp_body", None) or b""
        raise ClusterError(api_error(f"forward {name}", status, body, server=configuration.host)) from exc


class PodPort:
    """A connection to one port of one pod. For one thread: a TLS connection cannot be shared between two.

    The first byte of each message is its channel, data or error; the first message on each channel is the port's
    number and carries nothing else. `name` is used in errors.
    """

    def __init__(self, socket: Any, name: str) -> None:
        self._socket = socket
        self._name = name
        self._announced: set[int] = set()

    def fileno(self) -> int:
        """File descriptor, for a selector."""
        return int(self._socket.fileno())

    def pending(self) -> bool:
        """Tell whether bytes have come that the operating system does not know of: TLS decrypts ahead."""
        inner = self._socket.sock
        return bool(inner is not None and hasattr(inner, "pending") and inner.pending())

    def send(self, data: bytes) -> None:
        """Send bytes to the pod.

        Raises:
            ClusterDownError: the connection broke.
        """
        from websocket import WebSocketException

        try:
            self._socket.send_binary(bytes((_DATA_CHANNEL,)) + data)
        except (WebSocketException, OSError) as exc:
            raise ClusterDownError(f"{self._name}: the connection broke ({root_cause(exc)})") from exc

    def receive(self) -> bytes | None:
        """Receive the bytes of the next message, which may be none; None at the end of the connection.

        Raises:
            ClusterDownError: nothing listens on the port, or the connection broke.
        """
        from websocket import WebSocketConnectionClosedException, WebSocketException

        try:
            message = self._socket.recv()
        except WebSocketConnectionClosedException:
            return None
        except (WebSocketException, OSError) as exc:
            raise ClusterDownError(f"{self._name}: the connection broke ({root_cause(exc)})") from exc
        return self._data(message) if message else None  # an empty message closes the connection

    def _data(self, message: bytes) -> bytes:
        channel, payload = message[0], message[1:]
        if channel not in self._announced:
            self._announced.add(channel)
            return b""
        if channel == _ERROR_CHANNEL and payload:
            raise ClusterDownError(f"{self._name}: {one_line(payload.decode('utf-8', 'replace'))}")
        return payload if channel == _DATA_CHANNEL else b""

    def close(self) -> None:
        with suppress(Exception):  # a connection that is given up may fail in any way
            self._socket.shutdown()
