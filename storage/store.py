"""Where bundles lie: one small Protocol over a tree of files, and which URI opens which implementation.

A name is a relative POSIX path ("stages/0/shard.pt2"). Every Store passes tests/contracts/test_store.py. Nothing here
knows what is in a file: shardline.storage.bundle checks digests after a download.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Protocol

from shardline.wire.errors import StorageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a store tells of a file without opening it."""

    name: str
    size_bytes: int
    modified: datetime  # with its time zone


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How a store on the network is reached; what lies on this machine asks for none of it.

    `key_file` is a service account's key and `anonymous` leaves credentials out; with neither, Application Default
    Credentials are looked for. `retry_s` is how long a connection that is broken is tried again.
    """

    key_file: Path | None = None
    anonymous: bool = False
    retry_s: float = 60.0


DEFAULT_ACCESS = Access()


class Progress(Protocol):
    """Is told how bytes move, from several threads at once."""

    def begin(self, total_bytes: int) -> None: ...

    def there(self, size_bytes: int) -> None:
        """So many more bytes need not move: they are there already, and equal."""
        ...

    def moved(self, size_bytes: int) -> None:
        """So many more bytes were sent or fetched."""
        ...


class Silent:
    """Progress that nobody watches."""

    def begin(self, total_bytes: int) -> None:
        pass

    def there(self, size_bytes: int) -> None:
        pass

    def moved(self, size_bytes: int) -> None:
        pass


SILENT = Silent()


class Store(Protocol):
    """A tree of files under one root. Every method raises StorageError for a bad name and for whatever goes wrong."""

    def names(self, prefix: str = "") -> list[str]:
        """The names that start with `prefix`, sorted; "stages/1" also gives "stages/10/…", "stages/1/" does not."""
        ...

    def entries(self, prefix: str = "") -> list[Entry]:
        """`names`, with what the store knows of each file."""
        ...

    def holds(self, name: str, path: Path) -> bool:
        """Whether the file of that name is there and equal to the one at `path`."""
        ...

    def read(self, name: str) -> bytes: ...

    def write(self, name: str, data: bytes) -> None:
        """Create or replace in one step: nobody sees half a file."""
        ...

    def put(self, name: str, path: Path, progress: Progress = SILENT) -> None:
        """`write` what is in the file at `path`, never all of it in memory.

        A store on the network goes on where an earlier `put` of the same content broke off, even in another process.
        """
        ...

    def save(self, name: str, path: Path, progress: Progress = SILENT) -> None:
        """Put the file at `path` on this machine, in place of what is there; never all of it in memory."""
        ...

    def delete(self, name: str) -> None:
        """The file is gone afterwards, also if it never was there."""
        ...


def open_store(uri: str, access: Access = DEFAULT_ACCESS) -> Store:
    """'file:///models/resnet50' -> the store under that URI.

    Raises:
        StorageError: a scheme that nobody reads, or what the scheme's own store says.
    """
    scheme, separator, _ = uri.partition("://")
    if not separator or scheme not in _SCHEMES:
        allowed = ", ".join(f"{known}://" for known in _SCHEMES)
        raise StorageError(f"{uri!r} is no storage URI that Shardline reads; allowed: {allowed}")
    return _SCHEMES[scheme](uri, access)


def download(uri: str, folder: Path) -> None:
    """Put every file under `uri` into `folder`, in the same tree: links for file://, copies for all else.

    Raises:
        StorageError: a URI that cannot be read or has no files under it, or a folder that cannot be written.
    """
    save_all(open_store(uri), folder, what=uri)


def save_all(store: Store, folder: Path, *, what: str = "the store") -> None:
    """`download` from a store that is open already; `what` names it in the message.

    Raises:
        StorageError: an empty store, or a folder that cannot be written.
    """
    names = store.names()
    if not names:
        raise StorageError(f"{what} holds no files: was a bundle pushed there?")
    for name in names:
        store.save(name, folder / checked_name(name))


def checked_name(name: str) -> str:
    """`name` itself, if it is a relative POSIX path that stays below the root.

    Raises:
        StorageError: any other.
    """
    if not is_inside(name):
        raise StorageError(f"{name!r} is no name in a store; allowed: a relative path without '.' and '..'")
    return name


def is_inside(name: str) -> bool:
    """Whether `name` is a relative POSIX path in its shortest form that stays below its root: no '..', no '//'."""
    path = PurePosixPath(name)
    plain = path.as_posix() == name and "\\" not in name and name.isprintable()
    return plain and name != "." and not path.is_absolute() and ".." not in path.parts


def _open_folder(uri: str, _: Access) -> Store:
    from shardline.storage.folder import open_folder  # it builds on this module

    return open_folder(uri)


def _open_gcs(uri: str, access: Access) -> Store:
    from shardline.storage.gcs import open_gcs  # google.cloud takes a second to load, and pods' processes never need it

    return open_gcs(uri, access)


# the one place that knows which URI is read by what
_SCHEMES: Mapping[str, Callable[[str, Access], Store]] = {"file": _open_folder, "gs": _open_gcs}


@contextmanager
def as_storage_error(what: str) -> Iterator[None]:
    """What the file system says, in one line."""
    try:
        yield
    except (OSError, ValueError) as exc:  # ValueError: a null byte in a path
        reason = getattr(exc, "strerror", None) or exc
        raise StorageError(f"{what} cannot be read or written: {reason}") from exc
