"""The limits that a request meets, all in one place.

`request_bytes` bounds every request that goes on to a stage; `body_bytes` is what a server reads at all. Both count the
body as it is sent, base64 and JSON included.
"""

from dataclasses import dataclass

REQUEST_BYTES = 6 * 1024**2
BODY_BYTES = 32 * 1024**2
PIXELS = 50_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    request_bytes: int = REQUEST_BYTES
    body_bytes: int = BODY_BYTES
    pixels: int = PIXELS


def mebibytes(count_bytes: int) -> str:
    """6291456 -> '6.0 MB': how every message writes a size (1 MB = 1024² bytes)."""
    return f"{count_bytes / 1024**2:.1f} MB"
