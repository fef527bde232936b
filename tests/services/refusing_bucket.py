"""A server that gives every request the same answer, as Google Cloud Storage gives its errors.

    python refusing_bucket.py 403 "builder@x does not have storage.objects.list access"

The first line on stdout is the port.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STATUS = int(sys.argv[1])
BODY = json.dumps({"error": {"code": STATUS, "message": sys.argv[2]}}).encode()


class Handler(BaseHTTPRequestHandler):
    def handle_any(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(STATUS)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    do_DELETE = do_GET = do_POST = do_PUT = handle_any  # noqa: N815 - the names that http.server calls

    def log_message(self, *args: object) -> None:
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
