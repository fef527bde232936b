"""FolderStore: a folder on this machine, or one that is mounted."""

import filecmp
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from shardline.storage.store import SILENT, Entry, Progress, as_storage_error, checked_name
from shardline.wire.errors import StorageError

_DRAFT = ".writing."  # the folder beside a file in which it is written


class FolderStore:
    """A folder on this machine: file:///absolute/path. `save` links instead of copying gigabytes, as KServe does."""

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
            return [_entry(name, self._root / name) for name in names]

    def holds(self, name: str, path: Path) -> bool:
        held = self._path(name)
        with as_storage_error(f"{held} or {path}"):
            return held.is_file() and filecmp.cmp(held, path, shallow=False)

    def read(self, name: str) -> bytes:
        path = self._path(name)
        with as_storage_error(f"{path}"):
            return path.read_bytes()

    def write(self, name: str, data: bytes) -> None:
        with self._writing(name) as draft:
            draft.write_bytes(data)

    def put(self, name: str, path: Path, progress: Progress = SILENT) -> None:
        with self._writing(name) as draft:
            shutil.copyfile(path, draft)
            size_bytes = draft.stat().st_size
        progress.moved(size_bytes)

    @contextmanager
    def _writing(self, name: str) -> Iterator[Path]:
        """A file that takes the place of the one of that name, in one step."""
        path = self._path(name)
        with as_storage_error(f"{path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=_DRAFT, dir=path.parent) as draft:
                yield Path(draft, path.name)
                Path(draft, path.name).replace(path)

    def save(self, name: str, path: Path, progress: Progress = SILENT) -> None:
        source = self._path(name)
        with as_storage_error(f"{source}"):
            if path.exists() and path.samefile(source):
                return  # a folder downloaded onto itself: unlinking would lose the file
            if not source.is_file():
                raise FileNotFoundError(f"{source} is no file")
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
        """A bucket has no empty folders; here they go with their last file."""
        while folder != self._root and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent

    def _path(self, name: str) -> Path:
        return self._root / checked_name(name)


def open_folder(uri: str) -> FolderStore:
    """The URI's path is percent-decoded: file:///a%20b is the folder '/a b'.

    Raises:
        StorageError: no file URI, or no folder there.
    """
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


def _entry(name: str, path: Path) -> Entry:
    status = path.stat()
    return Entry(name=name, size_bytes=status.st_size, modified=datetime.fromtimestamp(status.st_mtime, UTC))


def _link(source: Path, path: Path) -> None:
    try:
        path.symlink_to(source)
    except OSError:  # a file system or a user without links
        shutil.copyfile(source, path)
