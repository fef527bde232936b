"""A bucket that ends the first upload session of each object: `expiring(status)` gives its URL and what it holds."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


@contextmanager
def expiring(status: int) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Serve resumable uploads; the first session's second chunk is answered with `status`, as Google ends a session."""
    objects: dict[str, bytes] = {}
    sessions: list[bytearray] = []

    class BucketHandler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            sessions.append(bytearray())
            self.answer(200, {"Location": f"{server_url}/session?number={len(sessions) - 1}"})

        def do_PUT(self) -> None:
            number = int(parse_qs(urlsplit(self.path).query)["number"][0])
            data = self.rfile.read(int(self.headers["Content-Length"]))
            if number == 0 and sessions[0]:
                return self.answer(status, {})
            sessions[number] += data
            last, total = self.headers["Content-Range"].rpartition("-")[2].split("/")
            if int(last) + 1 < int(total):
                return self.answer(308, {"Range": f"bytes=0-{len(sessions[number]) - 1}"})
            objects["sent"] = bytes(sessions[number])
            return self.answer(200, {}, {"name": "sent", "size": total})

        def answer(self, code: int, headers: dict[str, str], document: dict[str, str] | None = None) -> None:
            body = json.dumps(document or {}).encode()
            self.send_response(code)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), BucketHandler)
    server_url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server_url, objects
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
