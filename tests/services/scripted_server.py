"""An HTTP server with scripted replies, to test clients against.

    python scripted_server.py '{"POST /": [{"status": 503, "text": "busy"}, {"json": {"predictions": []}}]}'

Each route has a list of replies, taken in order; the last one stays. A reply has `status` (200), `headers`, and `json`
or `text`, which is said `repeat` times and in which SIZE stands for the number of bytes that came, or a `file`.
`after` holds it back until so many requests have come in all; `hang` never replies; `drop` closes the connection. Other
routes get 404.

The first line on stdout is the port, each further one a request: {"method", "path", "headers", "body"} (base64).
"""

import base64
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SCRIPT: dict[str, list[dict[str, Any]]] = json.loads(sys.argv[1])
ARRIVED = threading.Condition()
COUNT = 0


def next_reply(route: str) -> dict[str, Any]:
    replies = SCRIPT.get(route, [{"status": 404, "json": {"detail": "Not Found"}}])
    return replies.pop(0) if len(replies) > 1 else replies[0]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        reply = self.record(body)
        if reply.get("hang"):
            self.connection.recv(1)  # until the client gives up
        if reply.get("hang") or reply.get("drop"):
            self.close_connection = True
            return
        text = json.dumps(reply["json"]) if "json" in reply else reply.get("text", "")
        payload = text.replace("SIZE", str(len(body))).encode() * reply.get("repeat", 1)
        payload = Path(reply["file"]).read_bytes() if "file" in reply else payload
        self.send_response(reply.get("status", 200))
        for name, value in {"Content-Length": str(len(payload)), **reply.get("headers", {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)

    def record(self, body: bytes) -> dict[str, Any]:
        global COUNT
        seen = {"method": self.command, "path": self.path, "headers": dict(self.headers)}
        with ARRIVED:
            COUNT += 1
            print(json.dumps({**seen, "body": base64.b64encode(body).decode()}), flush=True)
            reply = next_reply(f"{self.command} {self.path}")
            ARRIVED.notify_all()
            ARRIVED.wait_for(lambda: reply.get("after", 0) <= COUNT, timeout=30)
        return reply

    do_GET = do_POST = handle_any  # noqa: N815 - the names that http.server calls

    def log_message(self, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *args: object) -> None:
        """Clients that go away are part of the tests."""


if __name__ == "__main__":
    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
