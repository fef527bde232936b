"""The limits that a request meets, all in one place.

`request_bytes` bounds every request that goes on to a stage; `body_bytes` is what a server reads at all. Both count the
body as it is sent, base64 and JSON included.
"""

from dataclasses import dataclass

MIB = 1024**2
GIB = 1024**3

REQUEST_BYTES = 6 * MIB
BODY_BYTES = 32 * MIB
PIXELS = 50_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    request_bytes: int = REQUEST_BYTES
    body_bytes: int = BODY_BYTES
    pixels: int = PIXELS


def format_bytes(count_bytes: int) -> str:
    """A number of bytes for a message: 6291456 -> '6.0 MiB', from 1 GiB on '1.5 GiB'."""
    return f"{count_bytes / MIB:.1f} MiB" if count_bytes < GIB else f"{count_bytes / GIB:.1f} GiB"
