"""What a pod's storage initializer does, with KServe's own downloader: the local run fetches as the cluster does.

It checks neither that all of a bundle is there nor what is in it (the server does, before it opens its port). It says
much and on several loggers, so it is kept quiet, and what it raises becomes one line.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shardline.storage.store import download
from shardline.wire.errors import StorageError

_LOGGER = "storage.initializer"


def fetch(uri: str, folder: Path) -> None:
    """Put what is at `uri` into `folder` as a pod gets it in /mnt/models; file:// is linked.

    Raises:
        StorageError: what the downloader could not fetch, or the downloader is not installed.
    """
    if uri.startswith("file://"):
        download(uri, folder)
        return
    try:
        from kserve_storage import Storage  # seconds, and every cloud's libraries
    except ImportError as exc:
        raise StorageError(
            f"{uri} is fetched with KServe's downloader, which is not installed: pip install 'shardline[local]'"
        ) from exc
    with _quiet(), _as_storage_error(uri):
        folder.mkdir(parents=True, exist_ok=True)
        Storage.download(uri, str(folder))


@contextmanager
def _quiet() -> Iterator[None]:
    logger = logging.getLogger(_LOGGER)
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before


@contextmanager
def _as_storage_error(uri: str) -> Iterator[None]:
    try:
        yield
    except Exception as exc:  # every scheme raises its own library's
        reason = " ".join(str(exc).split())[:300] or type(exc).__name__
        raise StorageError(f"{uri} cannot be fetched: {reason}") from exc
