"""What was pushed below a URI, and what of it nobody needs any more.

A digest is garbage when no manifest names it and nothing of it changed for a while: the time lets a push that still
runs finish, and gives its owner time to write the manifest. A digest counts as named wherever its 64 letters stand in
the manifests' text, so an overlay, a patch or a comment keeps it as well as a storageUri does: in doubt, it stays.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path

from shardline.storage.bundle import BUNDLE_FILE, digest_of, parse_bundle
from shardline.storage.push import names_of
from shardline.storage.store import Entry, Store, as_storage_error
from shardline.wire.errors import BundleError, StorageError

_PLACE = re.compile(r"(?P<name>[a-z][-a-z0-9]*)/(?P<digest>[0-9a-f]{64})/(?P<file>.+)")
_NAMED = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What lies under one digest. It is whole if everything is there that its bundle.json lists, with its size."""

    name: str
    digest: str  # 64 hex digits
    files: tuple[str, ...]  # relative to the URI that was pushed to
    size_bytes: int
    modified: datetime  # of the newest file
    is_whole: bool

    @property
    def place(self) -> str:
        return f"{self.name}/{self.digest}"


def inventory(store: Store) -> list[Pushed]:
    """Every digest below the store's root, by name and then the newest first. Other people's files are left out.

    Raises:
        StorageError: the store cannot be read.
    """
    found = [(match, entry) for entry in store.entries() if (match := _PLACE.fullmatch(entry.name))]
    groups = groupby(found, key=lambda pair: (pair[0]["name"], pair[0]["digest"]))
    pushed = [_pushed(store, *key, {match["file"]: entry for match, entry in pairs}) for key, pairs in groups]
    return sorted(pushed, key=lambda each: (each.name, -each.modified.timestamp(), each.digest))


def _pushed(store: Store, name: str, digest: str, files: dict[str, Entry]) -> Pushed:
    return Pushed(
        name=name,
        digest=digest,
        files=tuple(entry.name for entry in files.values()),
        size_bytes=sum(entry.size_bytes for entry in files.values()),
        modified=max(entry.modified for entry in files.values()),
        is_whole=_is_whole(store, digest, files),
    )


def _is_whole(store: Store, digest: str, files: dict[str, Entry]) -> bool:
    if BUNDLE_FILE not in files:
        return False
    data = store.read(files[BUNDLE_FILE].name)
    try:
        bundle = parse_bundle(data)
    except BundleError:
        return False
    sizes = {file: entry.size_bytes for file, entry in bundle.files.items()}
    return digest_of(data) == f"sha256:{digest}" and all(
        file in files and files[file].size_bytes == sizes.get(file, files[file].size_bytes)
        for batch in names_of(bundle)
        for file in batch
    )


def garbage(
    pushed: Sequence[Pushed],
    named: Iterable[str],
    *,
    older_than: timedelta,
    newest: int = 0,
    now: datetime | None = None,
) -> list[Pushed]:
    """Those of `pushed` that may go.

    Args:
        named: digests that stay, whole or not.
        older_than: what changed within this time stays.
        newest: so many whole ones of each name stay too, the newest.
    """
    before = (now or datetime.now(UTC)) - older_than
    kept = set(named) | {digest for name in {each.name for each in pushed} for digest in _newest(pushed, name, newest)}
    return [each for each in pushed if each.digest not in kept and each.modified <= before]


def _newest(pushed: Sequence[Pushed], name: str, count: int) -> list[str]:
    whole = [each for each in pushed if each.name == name and each.is_whole]
    whole.sort(key=lambda each: each.modified, reverse=True)
    return [each.digest for each in whole[:count]]


def delete(store: Store, pushed: Pushed) -> None:
    """The bundle.json files go first, the root's before all: nobody sees what is left as a whole bundle.

    Raises:
        StorageError: the store refused; what is left is partial, and garbage the next time.
    """
    for name in sorted(pushed.files, key=lambda name: (not name.endswith(f"/{BUNDLE_FILE}"), name.count("/"), name)):
        store.delete(name)


def named_digests(paths: Sequence[Path]) -> set[str]:
    """Every digest that stands in these files, and in all files below these folders.

    Raises:
        StorageError: a path that does not exist or cannot be read, or one that names none: is it the right one?
    """
    digests = {path: _digests_in(path) for path in paths}
    for path, found in digests.items():
        if not found:
            raise StorageError(f"{path} names no bundle's digest: give the manifests that `shardline render` wrote")
    return set().union(*digests.values())


def _digests_in(path: Path) -> set[str]:
    with as_storage_error(str(path)):
        files = [below for below in path.rglob("*") if below.is_file()] if path.is_dir() else [path]
        return {digest.decode() for file in files for digest in _NAMED.findall(file.read_bytes())}
