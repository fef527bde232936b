"""Limits of requests, sizes in bytes, and defaults that clients and servers share.

`request_bytes` bounds every request that is sent to a stage; `body_bytes` is the largest body that a server reads. Both
count the body as it is sent, base64 and JSON included.
"""

from dataclasses import dataclass

MIB = 1024**2
GIB = 1024**3

REQUEST_BYTES = 6 * MIB
BODY_BYTES = 32 * MIB
HELD_BYTES = 32 * REQUEST_BYTES + BODY_BYTES  # bodies in a server's memory: a full queue, and one large body more
JSON_VALUES = 100_000  # values in a request's JSON, without the numbers of a model's own inputs: 0.1 s of parsing
PIXELS = 50_000_000
PIXEL_BYTES = 12  # memory of decoding and fitting one pixel, measured (predictors/picture_cost.py)

PLATE_SCORE = 0.7  # least score of a license plate in a reply, where a request does not give a threshold
PLATE_INPUT_SIDE = 512  # pixels: side of the square that the plate detector is trained with


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one request: its bytes, the body's bytes, and the pixels of a picture."""

    request_bytes: int = REQUEST_BYTES
    body_bytes: int = BODY_BYTES
    pixels: int = PIXELS

    @property
    def decoding_bytes(self) -> int:
        """Most memory that decoding pictures may take, in bytes."""
        return self.pixels * PIXEL_BYTES


def format_bytes(count_bytes: int) -> str:
    """Write a number of bytes for a message: 6291456 -> '6.0 MiB', from 1 GiB on '1.5 GiB'."""
    return f"{count_bytes / MIB:.1f} MiB" if count_bytes < GIB else f"{count_bytes / GIB:.1f} GiB"
