"""The Store protocol, a small interface to a tree of files, and its implementation for a folder on this machine.

A file's name is a relative POSIX path such as "stages/0/shard.pt2". A store knows nothing about what is in a file:
shardline.storage.bundle_folder checks digests after a download. shardline.storage.open maps a URI to its store, and
shardline.storage.gcs is the store for Google Cloud Storage. Every store passes tests/contracts/test_store.py.
"""

import filecmp
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from shardline.wire.errors import StorageError
from shardline.wire.typed import is_relative_path

_DRAFT = ".writing."  # prefix of the temporary folder in which a file is written before it is renamed


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Name, size and time of one file in a store, known without opening it."""

    name: str
    size_bytes: int
    modified: datetime  # with its time zone


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Credentials and retries for a store on the network; local stores need none of it.

    Attributes:
        key_file: the key of a service account. Without it, Application Default Credentials are looked for.
        anonymous: send no credentials, for a public bucket.
        retry_s: for how many seconds a failed request is repeated.
    """

    key_file: Path | None = None
    anonymous: bool = False
    retry_s: float = 60.0


DEFAULT_ACCESS = Access()


class Progress(Protocol):
    """Observer of a transfer. Its methods are called from several threads at once."""

    def begin(self, total_bytes: int) -> None: ...

    def skipped(self, size_bytes: int) -> None:
        """Count bytes that are skipped, because an equal file is there already."""
        ...

    def moved(self, size_bytes: int) -> None:
        """Count bytes that were sent or fetched."""
        ...


class Silent:
    """A Progress that does nothing."""

    def begin(self, total_bytes: int) -> None:
        pass

    def skipped(self, size_bytes: int) -> None:
        pass

    def moved(self, size_bytes: int) -> None:
        pass


SILENT = Silent()


class Store(Protocol):
    """A tree of files under one root. Every method raises StorageError for a bad name and for whatever goes wrong."""

    def names(self, prefix: str = "") -> list[str]:
        """List the names that start with `prefix`, sorted; "stages/1" matches "stages/10/…" as well."""
        ...

    def entries(self, prefix: str = "") -> list[Entry]:
        """List the same files as `names`, each with its size and time."""
        ...

    def holds(self, name: str, path: Path) -> bool:
        """Tell whether the store has a file of that name that equals the local file at `path`."""
        ...

    def read(self, name: str) -> bytes: ...

    def put(self, name: str, path: Path, progress: Progress = SILENT) -> None:
        """Upload the local file at `path`, replacing what is there in one step: no reader sees a part of it."""
        ...

    def save(self, name: str, path: Path, progress: Progress = SILENT) -> None:
        """Download a file to `path`, replacing what is there, without holding all of it in memory."""
        ...

    def delete(self, name: str) -> None:
        """Delete a file; one that does not exist is no error."""
        ...


def checked_name(name: str) -> str:
    """Return `name` itself if it is a relative POSIX path that stays below the root.

    Raises:
        StorageError: any other name.
    """
    if not is_relative_path(name):
        raise StorageError(f"{name!r} is no name in a store; allowed: a relative path without '.' and '..'")
    return name


@contextmanager
def as_storage_error(what: str) -> Iterator[None]:
    """Turn errors of the file system into a StorageError of one line; `what` names the file."""
    try:
        yield
    except (OSError, ValueError) as exc:  # ValueError: a null byte in a path
        reason = getattr(exc, "strerror", None) or exc
        raise StorageError(f"{what} cannot be read or written: {reason}") from exc


class FolderStore:
    """A folder on this machine: file:///absolute/path. `save` makes links instead of copies, as KServe does."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self, prefix: str = "") -> list[str]:
        with as_storage_error(f"{self._root}"):
            files = (path.relative_to(self._root) for path in self._root.rglob("*") if path.is_file())
            names = (path.as_posix() for path in files if not path.parent.name.startswith(_DRAFT))
            return sorted(name for name in names if name.startswith(prefix))

    def entries(self, prefix: str = "") -> list[Entry]:
        names = self.names(prefix)
        with as_storage_error(f"{self._root}"):
            found = [(name, (self._root / name).stat()) for name in names]
        return [
            Entry(name=name, size_bytes=stat.st_size, modified=datetime.fromtimestamp(stat.st_mtime, UTC))
            for name, stat in found
        ]

    def holds(self, name: str, path: Path) -> bool:
        held = self._path(name)
        with as_storage_error(f"{held} or {path}"):
            return held.is_file() and filecmp.cmp(held, path, shallow=False)

    def read(self, name: str) -> bytes:
        path = self._path(name)
        with as_storage_error(f"{path}"):
            return path.read_bytes()

    def put(self, name: str, path: Path, progress: Progress = SILENT) -> None:
        target = self._path(name)
        with as_storage_error(f"{target}"):
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=_DRAFT, dir=target.parent) as folder:
                draft = Path(shutil.copyfile(path, Path(folder, target.name)))
                size_bytes = draft.stat().st_size
                draft.replace(target)
        progress.moved(size_bytes)

    def save(self, name: str, path: Path, progress: Progress = SILENT) -> None:
        source = self._path(name)
        with as_storage_error(f"{source}"):
            if path.exists() and path.samefile(source):
                return  # a folder is downloaded onto itself, and unlinking would lose the file
            if not source.is_file():
                raise FileNotFoundError(f"{source} is not a file")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            _link(source.resolve(), path)
            size_bytes = source.stat().st_size
        progress.moved(size_bytes)

    def delete(self, name: str) -> None:
        path = self._path(name)
        with as_storage_error(f"{path}"):
            path.unlink(missing_ok=True)
            self._remove_empty(path.parent)

    def _remove_empty(self, folder: Path) -> None:
        """Remove a folder and its parents as soon as they are empty: a bucket has no empty folders either."""
        while folder != self._root and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent

    def _path(self, name: str) -> Path:
        return self._root / checked_name(name)


def _link(source: Path, path: Path) -> None:
    try:
        path.symlink_to(source)
    except OSError:  # a file system or a user without links
        shutil.copyfile(source, path)
