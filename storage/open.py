"""Open a store by its URI: file:///absolute/path or gs://bucket/prefix."""

from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from shardline.storage.store import DEFAULT_ACCESS, Access, FolderStore, Store
from shardline.wire.errors import StorageError


def open_store(uri: str, access: Access = DEFAULT_ACCESS) -> Store:
    """Open the store at a URI such as 'file:///models/resnet50'; a bucket is not contacted yet.

    Raises:
        StorageError: the scheme is unknown, or the URI cannot be opened.
    """
    scheme, separator, _ = uri.partition("://")
    if not separator or scheme not in _SCHEMES:
        allowed = ", ".join(f"{known}://" for known in _SCHEMES)
        raise StorageError(f"{uri!r} is no storage URI that Shardline reads; allowed: {allowed}")
    return _SCHEMES[scheme](uri, access)


def _open_folder(uri: str, access: Access) -> Store:
    """Open a file URI, whose path is percent-decoded: file:///a%20b is the folder '/a b'."""
    if access.key_file or access.anonymous:
        raise StorageError(f"{uri!r} is a folder: --key-file and --anonymous are for gs://, leave them out")
    try:
        parts = urlsplit(uri)
        path = Path(unquote(parts.path, errors="strict"))
    except ValueError as exc:
        raise StorageError(f"{uri!r} is no URI ({exc}): write file:///absolute/path") from exc
    if parts.netloc not in ("", "localhost") or not path.is_absolute():
        raise StorageError(f"{uri!r} has no absolute path: write file:///absolute/path, with three slashes")
    if parts.query or parts.fragment:
        raise StorageError(f"{uri!r} has a '?' or '#': write %3F or %23 if the folder's name has one")
    if not path.is_dir():
        raise StorageError(f"{uri!r}: there is no folder {path} on this machine")
    return FolderStore(path)


def _open_gcs(uri: str, access: Access) -> Store:
    # google.cloud takes a second to load, and the processes in pods never need it
    from shardline.storage.gcs import open_gcs

    return open_gcs(uri, access)


_SCHEMES: Mapping[str, Callable[[str, Access], Store]] = {"file": _open_folder, "gs": _open_gcs}
