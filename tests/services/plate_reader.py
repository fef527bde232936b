"""An HTTP server that reads license plates of a kind that needs no network: rectangles of one pure colour.

    python plate_reader.py

It sees what a network would: the upright picture shrunk so that its longer side is 512. A rectangle that is at least 72
pixels wide there is read, with score 0.95; a narrower one is a board without text, whose score falls with its width;
under 8 pixels there is nothing. The reply has the pixels of the picture that came. Only `threshold` and `timings` are
known parameters.

The first line on stdout is the port, each further one a request: {"bytes", "size", "parameters"}.
"""

import io
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from shardline.wire.v1 import parse_request

INPUT_SIDE = 512
READ_FROM_PX, SEEN_FROM_PX = 72, 8
# the text that each colour stands for
TEXTS = {
    (255, 0, 255): ("12A", "3456"),
    (0, 255, 255): ("77E", "0012"),
    (255, 255, 0): ("90B", "8888"),
}
_LIKE = 90  # how far off a colour may be, in each channel


def read(picture: bytes, threshold: float) -> tuple[list[dict[str, Any]], tuple[int, int]]:
    with Image.open(io.BytesIO(picture)) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGB")
    scale = INPUT_SIDE / max(image.size)
    seen = image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.BOX)
    plates = [plate for colour in TEXTS if (plate := find(np.asarray(seen, int), colour, image.size))]
    return [plate for plate in plates if plate["score"] >= threshold], image.size


def find(pixels: Any, colour: tuple[int, int, int], size: tuple[int, int]) -> dict[str, Any] | None:
    rows, columns = np.nonzero((abs(pixels - np.array(colour)) < _LIKE).all(axis=2))
    if not len(rows) or np.ptp(columns) + 1 < SEEN_FROM_PX:
        return None
    wide = int(np.ptp(columns)) + 1
    across, down = size[0] / pixels.shape[1], size[1] / pixels.shape[0]
    left, right = float(columns.min() * across), float((columns.max() + 1) * across)
    top, bottom = float(rows.min() * down), float((rows.max() + 1) * down)
    plate: dict[str, Any] = {
        "type": "long" if right - left > 3 * (bottom - top) else "regular",
        "board_center_p": [(left + right) / 2, (top + bottom) / 2],
        "width": right - left,
        "height": bottom - top,
        "angle": 0.0,
        "sub_text": TEXTS[colour][0],
        "main_text": TEXTS[colour][1],
        "score": 0.95,
        "box": [left, top, right, bottom],
        "quad": [[left, top], [right, top], [right, bottom], [left, bottom]],
    }
    if wide < READ_FROM_PX:
        plate |= {"sub_text": None, "main_text": None, "missing": ["sub_text", "main_text"], "score": wide / 100}
    return plate


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request = parse_request(body)
        unknown = request.parameters.keys() - {"threshold", "timings"}
        if unknown:
            self.answer(400, {"error": f"unknown parameter {min(unknown)}"})
            return
        threshold = float(str(request.parameters.get("threshold", 0.7)))
        (picture,) = request.pictures
        plates, size = read(picture, threshold)
        print(
            json.dumps({"bytes": len(body), "size": size, "parameters": dict(request.parameters)}),
            flush=True,
        )
        timed = {"timings": {"transformer": 2.0, "0": 3.5}} if request.parameters.get("timings") else {}
        self.answer(200, {"predictions": [plates], **timed})

    def answer(self, status: int, document: dict[str, Any]) -> None:
        payload = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *args: object) -> None:
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_port, flush=True)
    server.serve_forever()
