"""Which pictures are meant: files, folders to search, and stdin."""

import os
from collections.abc import Sequence
from pathlib import Path

from shardline.wire.errors import RequestError

STDIN = Path("-")
SUFFIXES = (".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def find_pictures(given: Sequence[Path]) -> list[Path]:
    """Files as they are given, - for stdin, folders as the pictures in them: all below, sorted, hidden ones left out.

    Raises:
        RequestError: one does not exist, or there is no picture at all.
    """
    paths: list[Path] = []
    for path in given:
        if path == STDIN:
            paths.append(path)
            continue
        if not os.path.exists(path):  # noqa: PTH110 - Path.exists raises where a folder may not be looked into
            raise RequestError(f"{path}: no such file or folder")
        paths += _pictures_below(path) if path.is_dir() else [path]
    if not paths:
        raise RequestError(f"no pictures in {', '.join(map(str, given))}: looked for {' '.join(SUFFIXES)}")
    return paths


def _pictures_below(folder: Path) -> list[Path]:
    found: list[Path] = []
    seen: set[str] = set()
    for where, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(where)
        if real in seen:  # a link that leads back up
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(where, name) for name in files if name.lower().endswith(SUFFIXES) and not name.startswith(".")]
    return sorted(found)
