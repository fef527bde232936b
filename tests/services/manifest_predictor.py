"""A predictor or transformer in 60 lines: speaks just enough HTTP for `shardline up` to run it as if it were one.

POST answers `{"predictions": [its name, its pid, its shard's text, …]}`: what it was asked, with itself appended. With
--predictor_host it asks that first. `--die_if=FILE` ends it at once if the file is there, `--die=TEXT` always;
`--stubborn` makes it deaf to SIGTERM. `--chatty=N` prints N lines for each request, `--pause=S` waits so long.
"""

import argparse
import json
import os
import signal
import sys
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--model_name", required=True)
    parser.add_argument("--http_port", type=int, required=True)
    parser.add_argument("--model_dir")
    parser.add_argument("--predictor_host")
    parser.add_argument("--note", default="")
    parser.add_argument("--die")
    parser.add_argument("--stubborn", action="store_true")
    parser.add_argument("--die_if")
    parser.add_argument("--chatty", type=int, default=0)
    parser.add_argument("--pause", type=float, default=0)
    options = parser.parse_args()
    print(f"{options.model_name} starts", flush=True)
    if options.die or (options.die_if and Path(options.die_if).exists()):
        sys.exit(options.die or "told to die")

    if options.stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(200 if self.path in ("/", f"/v1/models/{options.model_name}") else 404, b"{}")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            print(f"a line of the log, {'x' * 80}\n" * options.chatty, end="", flush=True)
            time.sleep(options.pause)
            if options.predictor_host:
                url = f"http://{options.predictor_host}/v1/models/{options.model_name}:predict"
                with urllib.request.urlopen(url, data=body) as response:
                    body = response.read()
            said = json.loads(body).get("predictions", [])
            self._answer(200, json.dumps({"predictions": [*said, describe()]}).encode())

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    def describe() -> dict[str, object]:
        return {
            "name": options.model_name,
            "transformer": bool(options.predictor_host),
            "pid": os.getpid(),
            "note": options.note,
            "shard": Path(options.model_dir, "shard.txt").read_text() if options.model_dir else None,
            "env": {name: os.environ.get(name) for name in ("COLOUR", "OMP_NUM_THREADS", "INFERENCE_SERVICE_NAME")},
        }

    ThreadingHTTPServer(("0.0.0.0", options.http_port), Handler).serve_forever()


main()
