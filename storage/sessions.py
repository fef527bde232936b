"""Upload sessions that were begun on this machine, so that another process can go on with them.

A session's URL lets its bearer write that one object: the files are readable by their owner only. One is kept for each
object and content, locked while a process sends to it; a second process that sends the same begins a session of its
own. Google ends sessions after a week, and so they are forgotten here.
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

KEPT_S = 7 * 24 * 3600.0


class Slot:
    """Where one session's URL is kept; without a file, it is kept as long as the process only."""

    def __init__(self, file: BinaryIO | None) -> None:
        self._file = file
        self.url = "" if file is None else file.read().decode(errors="replace")

    def remember(self, url: str) -> None:
        """'' forgets."""
        self.url = url
        if self._file is not None:
            self._file.seek(0)
            self._file.truncate()
            self._file.write(url.encode())
            self._file.flush()


@contextmanager
def session_slot(*key: str) -> Iterator[Slot]:
    """The slot of an object and its content. What the disk refuses is only not remembered."""
    path = _folder() / hashlib.sha256("\0".join(key).encode()).hexdigest()
    file = _locked(path)
    if file is None:
        yield Slot(None)
        return
    with file:
        slot = Slot(file)
        try:
            yield slot
        finally:
            if not slot.url:
                path.unlink(missing_ok=True)


def _folder() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "shardline" / "uploads"


def _locked(path: Path) -> BinaryIO | None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _forget_old(path.parent)
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def _forget_old(folder: Path) -> None:
    for path in folder.iterdir():
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > KEPT_S:
                path.unlink()
