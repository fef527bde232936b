"""Stores for tests: one in memory that passes the same contract as the real ones, and a way to write into any."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from shardline.storage.store import SILENT, Entry, Progress, Store, as_storage_error, checked_name
from shardline.wire.errors import StorageError


class MemoryStore:
    """A store that lives as long as the process."""

    def __init__(self, files: Mapping[str, bytes] | None = None) -> None:
        self._files: dict[str, bytes] = {}
        self._modified: dict[str, datetime] = {}
        for name, data in (files or {}).items():
            self.write(name, data)

    def names(self, prefix: str = "") -> list[str]:
        return sorted(name for name in self._files if name.startswith(prefix))

    def entries(self, prefix: str = "") -> list[Entry]:
        return [
            Entry(name=name, size_bytes=len(self._files[name]), modified=self._modified[name])
            for name in self.names(prefix)
        ]

    def holds(self, name: str, path: Path) -> bool:
        with as_storage_error(f"{path}"):
            return self._files.get(checked_name(name)) == path.read_bytes()

    def read(self, name: str) -> bytes:
        try:
            return self._files[checked_name(name)]
        except KeyError as exc:
            raise StorageError(f"{name} is not in the store: it holds {len(self._files)} files") from exc

    def write(self, name: str, data: bytes) -> None:
        self._files[checked_name(name)] = bytes(data)
        self._modified[name] = datetime.now(UTC)

    def put(self, name: str, path: Path, progress: Progress = SILENT) -> None:
        with as_storage_error(f"{path}"):
            data = path.read_bytes()
        self.write(name, data)
        progress.moved(len(data))

    def save(self, name: str, path: Path, progress: Progress = SILENT) -> None:
        data = self.read(name)
        with as_storage_error(f"{path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.write_bytes(data)
        progress.moved(len(data))

    def delete(self, name: str) -> None:
        self._files.pop(checked_name(name), None)


def put_bytes(store: Store, name: str, data: bytes) -> None:
    """Put a file with this content into a store."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "file")
        path.write_bytes(data)
        store.put(name, path)
