"""The user's cache folder, and locks by which `clean` in another process sees which folders are in use."""

import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from shardline.wire.errors import StorageError

RUN_PREFIX = "shardline-up-"  # of the temporary folder of a chain that runs on this machine
SETTLED_S = 60.0  # younger folders may belong to a process that has not locked them yet


def user_folder() -> Path:
    """Folder of this user's caches: $XDG_CACHE_HOME/shardline, else ~/.cache/shardline."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(given) if Path(given).is_absolute() else Path.home() / ".cache") / "shardline"


def bundles_folder() -> Path:
    """Folder of the bundles that `shardline serve` builds."""
    return user_folder() / "bundles"


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Hold a shared lock on a folder: until the end of the block, or of this process, `is_unused` is False for it."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(opened, fcntl.LOCK_SH)
        yield
    finally:
        os.close(opened)


def is_unused(path: Path) -> bool:
    """Tell whether no process holds a lock on a file or folder."""
    try:
        opened = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(opened)
    return True


def remove_unused_runs() -> None:
    """Remove the temporary folders of chains that were killed; those of the last minute may not be locked yet."""
    for folder in Path(tempfile.gettempdir()).glob(f"{RUN_PREFIX}*"):
        with suppress(OSError):
            state = folder.lstat()
            is_ours = stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid()
            if is_ours and time.time() - state.st_mtime > SETTLED_S and is_unused(folder):
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Make a lock file and hold it for this process alone: others wait here.

    Raises:
        StorageError: the file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    except OSError as exc:
        raise StorageError(f"{path} cannot be written ({exc.strerror}): set XDG_CACHE_HOME to another folder") from exc
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
