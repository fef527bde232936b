"""Steps of a graph: tiny servers that send the replies that a test gives them, and record the requests."""

from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int  # the port that it came from


Answer = tuple[int, dict[str, str], bytes]
Reply = Callable[[Request], Answer]


@dataclass(slots=True)
class Step:
    """A server that answers `reply(request)`."""

    reply: Reply
    requests: list[Request] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/models/m:predict"

    def hard(self) -> dict[str, Any]:
        """As Shardline renders a step."""
        return {"serviceUrl": self.url, "dependency": "Hard", "data": "$response"}


class Steps:
    """Starts steps."""

    def __init__(self) -> None:
        self._running: list[tuple[ThreadingHTTPServer, Thread]] = []

    def replies(self, reply: Reply, *, port: int = 0) -> Step:
        step = Step(reply)
        server = ThreadingHTTPServer(("127.0.0.1", port), _handler(step))
        server.daemon_threads = True
        step.port = server.server_address[1]
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        self._running.append((server, thread))
        return step

    def says(self, body: bytes, status: int = 200, **headers: str) -> Step:
        return self.replies(lambda _: (status, headers, body))

    def echo(self, *, port: int = 0) -> Step:
        return self.replies(lambda request: (200, {}, request.body), port=port)

    def stop(self) -> None:
        for server, thread in self._running:
            server.shutdown()
            server.server_close()
            thread.join()


def _handler(step: Step) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            request = Request(
                method=self.command,
                path=self.path,
                headers=dict(self.headers.items()),
                body=self.rfile.read(int(self.headers.get("Content-Length", 0))),
                connection=self.client_address[1],
            )
            step.requests.append(request)
            status, headers, answer = step.reply(request)
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(answer))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST  # noqa: N815 the base class's name

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
