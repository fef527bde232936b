"""One connection to a port of a pod, through the API server's websocket.

The kubernetes package makes the websocket, with the kubeconfig's credentials, certificates and proxy. Its own forwarder
on top of that is not used: a connection that breaks leaves its thread with a traceback and the caller waiting, and it
changes the API client while others use it.
"""

from contextlib import suppress
from typing import Any

from shardline.client.refusals import one_line, refusal, root_cause
from shardline.wire.errors import ClusterDownError, ClusterError

_PROTOCOL = "v4.channel.k8s.io"


def open_pod_port(configuration: Any, path: str, name: str) -> "PodPort":
    """`configuration` is the kubernetes package's; `name` says in errors what this is.

    Raises:
        ClusterError: the API server refuses; ClusterDownError: it does not answer.
    """
    from kubernetes.stream import ws_client
    from websocket import WebSocketException

    token = configuration.auth_settings().get("BearerToken", {}).get("value")
    headers = {"sec-websocket-protocol": _PROTOCOL} | ({"authorization": token} if token else {})
    url = ws_client.get_websocket_url(configuration.host + path)  # type: ignore[no-untyped-call]  # kubernetes has no types
    try:
        return PodPort(ws_client.create_websocket(configuration, url, headers), name)  # type: ignore[no-untyped-call]  # likewise
    except (WebSocketException, OSError, ValueError) as exc:
        status = getattr(exc, "status_code", None)
        if status is None:
            raise ClusterDownError(f"{name}: {configuration.host} does not answer ({root_cause(exc)})") from exc
        body = getattr(exc, "resp_body", None) or b""
        raise ClusterError(refusal(f"forward {name}", status, body, server=configuration.host)) from exc


class PodPort:
    """Bytes to and from one port of one pod. For one thread: a TLS connection is not to be shared between two.

    Of the two channels that a port has, 0 carries data and 1 the error; the first message on each is the port's number,
    and each message starts with its channel's.
    """

    def __init__(self, socket: Any, name: str) -> None:
        self._socket = socket
        self._name = name
        self._announced: set[int] = set()

    def fileno(self) -> int:
        """To wait with until something comes."""
        return int(self._socket.fileno())

    def pending(self) -> bool:
        """Whether something has come that the operating system does not know of: TLS decrypts ahead."""
        inner = self._socket.sock
        return bool(inner is not None and hasattr(inner, "pending") and inner.pending())

    def send(self, data: bytes) -> None:
        """Raises ClusterDownError when the connection is gone."""
        from websocket import WebSocketException

        try:
            self._socket.send_binary(b"\0" + data)
        except (WebSocketException, OSError) as exc:
            raise ClusterDownError(f"{self._name}: the connection broke ({root_cause(exc)})") from exc

    def receive(self) -> bytes | None:
        """What the next message brings, which may be nothing; None at the end.

        Raises:
            ClusterDownError: nothing listens there, or the connection broke.
        """
        from websocket import WebSocketConnectionClosedException, WebSocketException

        try:
            message = self._socket.recv()
        except WebSocketConnectionClosedException:
            return None
        except (WebSocketException, OSError) as exc:
            raise ClusterDownError(f"{self._name}: the connection broke ({root_cause(exc)})") from exc
        return self._data(message) if message else None  # the other side's farewell is empty

    def _data(self, message: bytes) -> bytes:
        channel, payload = message[0], message[1:]
        if channel not in self._announced:
            self._announced.add(channel)
            return b""
        if channel == 1 and payload:
            raise ClusterDownError(f"{self._name}: {one_line(payload.decode('utf-8', 'replace'))}")
        return payload if channel == 0 else b""

    def close(self) -> None:
        with suppress(Exception):  # it is of no use any more, whatever it says
            self._socket.shutdown()
