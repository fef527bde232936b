"""Where bundles lie: one small Protocol over a tree of files, its implementations, and which URI opens which.

A name is a relative POSIX path ("stages/0/shard.pt2"). Every Store passes tests/contracts/test_store.py; MemoryStore is
for tests, yours too. Nothing here knows what is in a file: storage.bundle checks digests after a download.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import unquote, urlsplit

from wire.errors import StorageError

_DRAFT = ".writing."  # the folder beside a file in which it is written


class Store(Protocol):
    """A tree of files under one root. Every method raises StorageError for a bad name and for whatever goes wrong."""

    def names(self, prefix: str = "") -> list[str]:
        """The names that start with `prefix`, sorted; "stages/1" also gives "stages/10/…", "stages/1/" does not."""
        ...

    def read(self, name: str) -> bytes: ...

    def write(self, name: str, data: bytes) -> None:
        """Create or replace in one step: nobody sees half a file."""
        ...

    def save(self, name: str, path: Path) -> None:
        """Put the file at `path` on this machine, in place of what is there; never all of it in memory."""
        ...


class FolderStore:
    """A folder on this machine: file:///absolute/path. `save` links instead of copying gigabytes, as KServe does."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self, prefix: str = "") -> list[str]:
        with _as_storage_error(f"{self._root}"):
            files = (path.relative_to(self._root) for path in self._root.rglob("*") if path.is_file())
            names = (path.as_posix() for path in files if not path.parent.name.startswith(_DRAFT))
            return sorted(name for name in names if name.startswith(prefix))

    def read(self, name: str) -> bytes:
        path = self._path(name)
        with _as_storage_error(f"{path}"):
            return path.read_bytes()

    def write(self, name: str, data: bytes) -> None:
        path = self._path(name)
        with _as_storage_error(f"{path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=_DRAFT, dir=path.parent) as draft:
                written = Path(draft, path.name)
                written.write_bytes(data)
                written.replace(path)

    def save(self, name: str, path: Path) -> None:
        source = self._path(name)
        with _as_storage_error(f"{source}"):
            if path.exists() and path.samefile(source):
                return  # a folder downloaded onto itself: unlinking would lose the file
            if not source.is_file():
                raise FileNotFoundError(f"{source} is no file")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            _link(source.resolve(), path)

    def _path(self, name: str) -> Path:
        return self._root / checked_name(name)


class MemoryStore:
    """A store that lives as long as the process, for tests."""

    def __init__(self, files: Mapping[str, bytes] | None = None) -> None:
        self._files: dict[str, bytes] = {}
        for name, data in (files or {}).items():
            self.write(name, data)

    def names(self, prefix: str = "") -> list[str]:
        return sorted(name for name in self._files if name.startswith(prefix))

    def read(self, name: str) -> bytes:
        try:
            return self._files[checked_name(name)]
        except KeyError as exc:
            raise StorageError(f"{name} is not in the store: it holds {len(self._files)} files") from exc

    def write(self, name: str, data: bytes) -> None:
        self._files[checked_name(name)] = bytes(data)

    def save(self, name: str, path: Path) -> None:
        data = self.read(name)
        with _as_storage_error(f"{path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.write_bytes(data)


def open_store(uri: str) -> Store:
    """'file:///models/resnet50' -> the store under that URI.

    Raises:
        StorageError: a scheme that nobody reads, or what the scheme's own store says.
    """
    scheme, separator, _ = uri.partition("://")
    if not separator or scheme not in _SCHEMES:
        allowed = ", ".join(f"{known}://" for known in _SCHEMES)
        raise StorageError(f"{uri!r} is no storage URI that Shardline reads; allowed: {allowed}")
    return _SCHEMES[scheme](uri)


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


def _folder_store(uri: str) -> FolderStore:
    """The URI's path is percent-decoded: file:///a%20b is the folder '/a b'."""
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


# the one place that knows which URI is read by what
_SCHEMES: Mapping[str, Callable[[str], Store]] = {"file": _folder_store}


def _link(source: Path, path: Path) -> None:
    try:
        path.symlink_to(source)
    except OSError:  # a file system or a user without links
        shutil.copyfile(source, path)


@contextmanager
def _as_storage_error(what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as exc:  # ValueError: a null byte in a path
        reason = getattr(exc, "strerror", None) or exc
        raise StorageError(f"{what} cannot be read or written: {reason}") from exc
