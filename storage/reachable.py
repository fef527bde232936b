"""Check within seconds that a bucket's server accepts connections: Google's libraries retry for minutes."""

import os
import socket
import threading
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from shardline.wire.errors import StorageError

EMULATOR_VARIABLE = "STORAGE_EMULATOR_HOST"
_GOOGLE = "https://storage.googleapis.com"
_TIMEOUT_S = 4.0  # name resolution and connection together


def check_reachable(uri: str, timeout_s: float = _TIMEOUT_S) -> None:
    """Open and close a connection to the server of a gs:// URI; other URIs and connections by a proxy are not checked.

    Raises:
        StorageError: nothing answers at STORAGE_EMULATOR_HOST, or Google Cloud Storage cannot be reached.
    """
    if not uri.startswith("gs://"):
        return
    emulator = os.environ.get(EMULATOR_VARIABLE)
    try:
        address = _address(emulator or _GOOGLE)
    except ValueError as exc:
        raise StorageError(
            f"{EMULATOR_VARIABLE} is {emulator!r}, which is not a URL: write http://127.0.0.1:4443"
        ) from exc
    if address is None:
        return
    problem = _problem(address, timeout_s)
    if problem and emulator:
        raise StorageError(
            f"{uri}: nothing answers at {EMULATOR_VARIABLE}={emulator} ({problem}): run `shardline emulator --port "
            f"{address[1]}` and push the bundle again, or unset {EMULATOR_VARIABLE} to use Google's storage; without a "
            "bucket, `shardline up BUNDLE` serves the bundle's folder"
        )
    if problem:
        raise StorageError(
            f"{uri}: {address[0]} cannot be reached ({problem}): check the connection. If the bucket was that of "
            f"`shardline emulator` or `shardline demo`, it ended with it: `shardline up BUNDLE` serves the bundle's "
            "folder without a bucket"
        )


def _address(url: str) -> tuple[str, int] | None:
    """Host and port of a URL; None if requests to it go through a proxy.

    Raises:
        ValueError: not a URL with a host.
    """
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if not parts.hostname:
        raise ValueError(url)
    proxies = getproxies()
    if (parts.scheme in proxies or "all" in proxies) and not proxy_bypass(parts.hostname):
        return None
    return parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _problem(address: tuple[str, int], timeout_s: float) -> str:
    """Connect in a thread of its own, since the resolution of a name has no timeout; empty if a server accepts."""
    found = [f"no connection within {timeout_s:g} s"]

    def connect() -> None:
        try:
            socket.create_connection(address, timeout_s).close()
            found.append("")
        except OSError as exc:
            found.append(exc.strerror or str(exc) or type(exc).__name__)

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(timeout_s)
    return found[-1]
