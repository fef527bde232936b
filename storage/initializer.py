"""Download a model with KServe's own storage initializer, so that a local run fetches as a pod does.

The downloader checks neither completeness nor content; the server does, before it opens its port. The downloader logs a
lot through several loggers, so it is silenced, and what it raises becomes one line.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shardline.storage.open import open_store
from shardline.storage.reachable import check_reachable
from shardline.wire.errors import MissingPackageError, StorageError

_LOGGER = "storage.initializer"


def fetch(uri: str, folder: Path) -> None:
    """Put all files under `uri` into `folder` as a pod gets them in /mnt/models; files of a file:// URI are linked.

    Raises:
        StorageError: nothing is at `uri`, or it cannot be fetched.
        MissingPackageError: the downloader is not installed.
    """
    if uri.startswith("file://"):
        _link_all(uri, folder)
        return
    check_reachable(uri)
    try:
        from kserve_storage import Storage  # takes seconds to load, with every cloud's libraries
    except ImportError as exc:
        raise MissingPackageError(
            f"{uri} is fetched with KServe's downloader, which is not installed: pip install 'shardline[local]'"
        ) from exc
    with _quietly(uri):
        folder.mkdir(parents=True, exist_ok=True)
        Storage.download(uri, str(folder))


def _link_all(uri: str, folder: Path) -> None:
    store = open_store(uri)
    names = store.names()
    if not names:
        raise StorageError(f"{uri} holds no files: was a bundle pushed there?")
    for name in names:
        store.save(name, folder / name)


@contextmanager
def _quietly(uri: str) -> Iterator[None]:
    """Silence the downloader, and turn what it raises into a StorageError."""
    logger = logging.getLogger(_LOGGER)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    except Exception as exc:  # every scheme raises its own library's exceptions
        reason = " ".join(str(exc).split())[:300] or type(exc).__name__
        raise StorageError(f"{uri} cannot be fetched: {reason}") from exc
    finally:
        logger.disabled = before
