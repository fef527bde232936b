"""Bundles in folders of this machine, found without checking their digests; and what killed runs left behind."""

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from shardline.storage.bundle import (
    BUNDLE_FILE,
    STAGE_FILE,
    Bundle,
    parse_bundle,
)
from shardline.storage.user_cache import RUN_PREFIX, SETTLED_S, bundles_folder, is_unused, user_folder
from shardline.wire.errors import BundleError, FileError

LEVELS = 4  # folders below the one that is searched
Kind = Literal["measurements", "bundles", "leftovers"]

# drafts of bundles, bundles that a newer one replaced, and interrupted pulls: see bundle_folder.py and push.py
_DRAFT = re.compile(r"\..+\.(draft\.[a-z0-9_]{8}|old\.[a-z0-9_]{8}|pull\.[0-9a-f]{12})")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalBundle:
    """A bundle in a folder; `modified` is the time of its bundle.json, which is written last."""

    folder: Path
    bundle: Bundle
    size_bytes: int
    modified: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Disposable:
    """A file or folder that can be deleted: it is made again when it is needed, or nobody needs it any more."""

    path: Path
    kind: Kind
    size_bytes: int

    def delete(self) -> None:
        """Delete it; what another process deleted meanwhile is no error.

        Raises:
            FileError: it cannot be deleted.
        """
        try:
            if self.path.is_dir() and not self.path.is_symlink():
                shutil.rmtree(self.path)
            else:
                self.path.unlink()
        except FileNotFoundError:
            pass
        except OSError as exc:
            raise FileError(f"{self.path} cannot be deleted ({exc.strerror}): check its permissions") from exc


def local_bundles(folder: Path) -> list[LocalBundle]:
    """Find the bundles in a folder and at most `LEVELS` folders below it, by path; damaged ones are left out.

    Raises:
        FileError: there is no such folder.
    """
    if not folder.is_dir():
        raise FileError(f"{folder} is not a folder: give the one that bundles lie in")
    found = []
    for path in _folders(folder):
        if (path / BUNDLE_FILE).is_file() and not (path / STAGE_FILE).exists():
            try:
                bundle = parse_bundle((path / BUNDLE_FILE).read_bytes())
                modified = datetime.fromtimestamp((path / BUNDLE_FILE).stat().st_mtime, UTC)
            except (BundleError, OSError):
                continue
            size = sum(file.size_bytes for file in bundle.files.values())
            found.append(LocalBundle(folder=path, bundle=bundle, size_bytes=size, modified=modified))
    return found


def disposables(folder: Path) -> list[Disposable]:
    """Find what can be deleted: the user's cache, and what killed runs left in it, below `folder` and in /tmp.

    What a running process holds a lock on is left out: bundles that are served, and drafts that are written.
    """
    cache = bundles_folder()
    bundles = [path for path in _children(cache) if not path.name.startswith(".")]
    measurements = [path for path in _children(user_folder()) if path != cache]
    runs = [path for path in _children(Path(tempfile.gettempdir())) if path.name.startswith(RUN_PREFIX)]
    drafts = [path for parent in (cache, *_folders(folder)) for path in _children(parent) if _is_draft(path)]
    locks = [path for path in _children(cache) if path.name.startswith(".") and path.suffix == ".lock"]
    kinds: dict[Kind, list[Path]] = {
        "measurements": measurements,
        "bundles": [path for path in bundles if is_unused(path)],
        "leftovers": [path for path in (*runs, *drafts, *locks) if _is_ours(path) and is_unused(path)],
    }
    return [
        Disposable(path=path, kind=kind, size_bytes=_size(path))
        for kind, paths in kinds.items()
        for path in dict.fromkeys(paths)
    ]


def _folders(folder: Path) -> Iterator[Path]:
    """Yield a folder and those below it; not those in a bundle, hidden ones, or those of installed packages."""
    for where, names, _ in os.walk(folder):
        path = Path(where)
        deep = len(path.relative_to(folder).parts)
        is_leaf = deep >= LEVELS or (path / BUNDLE_FILE).is_file()
        names[:] = (
            [] if is_leaf else sorted(name for name in names if not name.startswith(".") and name != "node_modules")
        )
        yield path


def _is_draft(path: Path) -> bool:
    return _DRAFT.fullmatch(path.name) is not None and path.is_dir()


def _is_ours(path: Path) -> bool:
    """True for a path of this user's that no process has just made."""
    try:
        stat = path.stat()
    except OSError:
        return False
    return stat.st_uid == os.getuid() and time.time() - stat.st_mtime > SETTLED_S


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _size(path: Path) -> int:
    """Size in bytes of a file, or of the files in a folder; links, which cost nothing, are not followed."""
    files = path.rglob("*") if path.is_dir() and not path.is_symlink() else [path]
    return sum(file.lstat().st_size for file in files if file.is_symlink() or file.is_file())
