"""A port on this machine that leads to a ready pod behind a Service, as `kubectl port-forward` does.

Unlike there, each connection looks for a pod anew: when one goes away the next connection finds another, and several
connections spread over all pods. What cannot be forwarded is answered 503 with the reason, as a server that is away
would: the other end is a client of HTTP, which then tries again or shows why.
"""

import itertools
import json
import selectors
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from types import TracebackType
from typing import Any

from shardline.client.cluster import Cluster
from shardline.client.diagnosis import is_ready, pods_problem
from shardline.client.podport import PodPort
from shardline.wire.errors import ClusterError

Document = dict[str, Any]

_CHUNK_BYTES = 256 * 1024
_POLL_S = 0.1  # how long close() may wait for the listener


class Forward:
    """To port `port` of Service `service`; `url` is where it listens until it is closed."""

    def __init__(self, cluster: Cluster, namespace: str, service: str, port: int = 80) -> None:
        self._backends = Backends(cluster, namespace, service, port)
        self._open: set[socket.socket] = set()
        forward = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                forward._serve(self.request)

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_POLL_S,), daemon=True)
        self._thread.start()

    def __enter__(self) -> "Forward":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """No new connections, and those that are open end."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        for local in list(self._open):
            with suppress(OSError):
                local.shutdown(socket.SHUT_RDWR)

    def _serve(self, local: socket.socket) -> None:
        """One connection, from beginning to end."""
        self._open.add(local)
        try:
            with closing(self._backends.connect()) as remote:
                _pump(local, remote)
        except ClusterError as exc:
            with suppress(OSError):
                local.sendall(_unavailable(str(exc)))
        except OSError:
            pass  # the client went away
        finally:
            self._open.discard(local)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True  # a program that ends does not wait for connections
    request_queue_size = 128


class Backends:
    """The ready pods behind a Service."""

    def __init__(self, cluster: Cluster, namespace: str, service: str, port: int) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._service = service
        self._port = port
        self._turn = itertools.count()

    def connect(self) -> PodPort:
        """To the next pod that takes a connection.

        Raises:
            ClusterError: none does, and why.
        """
        refused: ClusterError | None = None
        for pod, port in self._in_turn():
            try:
                return self._cluster.open_port(self._namespace, pod, port)
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
                f"Service {self._service} has no ready pod: {pods_problem(pods) or 'it has none at all'}"
            )
        first = next(self._turn) % len(ready)
        for pod in ready[first:] + ready[:first]:
            yield pod["metadata"]["name"], target_port(service, pod, self._port)


def target_port(service: Document, pod: Document, port: int) -> int:
    """The pod's own port behind a Service's; it may be given by the name of a container's port.

    Raises:
        ClusterError: neither the Service nor the pod has it.
    """
    found = next((one for one in service["spec"].get("ports") or [] if one["port"] == port), None)
    if found is None:
        raise ClusterError(f"Service {service['metadata']['name']} has no port {port}")
    target = found.get("targetPort", port)
    if isinstance(target, int):
        return target
    containers = pod["spec"].get("containers") or []
    named = [one for container in containers for one in container.get("ports") or [] if one.get("name") == target]
    if not named:
        raise ClusterError(f"pod {pod['metadata']['name']} has no port {target!r}")
    return int(named[0]["containerPort"])


def _selector(service: Document) -> str:
    selector = service["spec"].get("selector")
    if not selector:
        raise ClusterError(f"Service {service['metadata']['name']} selects no pods")
    return ",".join(f"{key}={value}" for key, value in selector.items())


def _pump(local: socket.socket, remote: PodPort) -> None:
    """Bytes both ways until one end is done. An error of the pod's before its first byte is for the caller to tell."""
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
                    answer = remote.receive()
                except ClusterError:
                    if begun:
                        return  # half an answer: the client sees that it breaks off
                    raise
                if answer is None:
                    return
                begun = begun or bool(answer)
                local.sendall(answer)


def _unavailable(reason: str) -> bytes:
    body = json.dumps({"error": f"port-forward: {reason}"}).encode()
    head = (
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
        f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
