"""Inventory of the bundles pushed to a store, and garbage collection of those that no manifest names.

A digest is garbage if no manifest names it and none of its files changed for a while: the time lets a push that still
runs finish, and gives its owner time to write the manifest. A digest counts as named wherever its 64 characters stand
in the manifests' text, so an overlay, a patch or a comment keeps it as well as a storageUri does: in doubt, it stays.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path

from shardline.storage.bundle import BUNDLE_FILE, digest_of, parse_bundle, publishing_order
from shardline.storage.store import Entry, Store, as_storage_error
from shardline.wire.errors import BundleError, StorageError

_PUSHED_FILE = re.compile(r"(?P<name>[a-z][-a-z0-9]*)/(?P<digest>[0-9a-f]{64})/(?P<file>.+)")
_NAMED = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """One pushed bundle. It is whole if every file is there that its bundle.json lists, with the right size."""

    name: str
    digest: str  # 64 hex digits
    files: tuple[str, ...]  # relative to the URI that was pushed to
    size_bytes: int
    modified: datetime  # of the newest file
    is_whole: bool

    @property
    def path(self) -> str:
        """Path below the URI that was pushed to, 'resnet50/5421…'."""
        return f"{self.name}/{self.digest}"


def inventory(store: Store) -> list[Pushed]:
    """List every pushed bundle below the store's root, by name and then newest first. Other files are left out.

    Raises:
        StorageError: the store cannot be read.
    """
    found = [(match, entry) for entry in store.entries() if (match := _PUSHED_FILE.fullmatch(entry.name))]
    groups = groupby(found, key=lambda pair: (pair[0]["name"], pair[0]["digest"]))
    pushed = [_pushed(store, *key, {match["file"]: entry for match, entry in pairs}) for key, pairs in groups]
    return sorted(pushed, key=lambda bundle: (bundle.name, -bundle.modified.timestamp(), bundle.digest))


def bundle_roots(store: Store) -> list[str]:
    """List the prefixes below the store's root under which bundles lie, such as `models/vision`; at most ten."""
    roots: set[str] = set()
    for entry in store.entries():
        parts = entry.name.split("/")
        starts = (start for start in range(1, len(parts)) if _PUSHED_FILE.fullmatch("/".join(parts[start:])))
        roots.update("/".join(parts[:start]) for start in starts)
    return sorted(roots)[:10]


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
        for batch in publishing_order(bundle)
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
    """Select the pushed bundles that may be deleted.

    Args:
        pushed: all that there are.
        named: digests to keep, whole or not.
        older_than: also keep what changed within this time.
        newest: also keep the N newest whole bundles of each name.
        now: the present, by default.
    """
    before = (now or datetime.now(UTC)) - older_than
    names = {bundle.name for bundle in pushed}
    kept = set(named) | {digest for name in names for digest in _newest(pushed, name, newest)}
    return [bundle for bundle in pushed if bundle.digest not in kept and bundle.modified <= before]


def _newest(pushed: Sequence[Pushed], name: str, count: int) -> list[str]:
    whole = [bundle for bundle in pushed if bundle.name == name and bundle.is_whole]
    whole.sort(key=lambda bundle: bundle.modified, reverse=True)
    return [bundle.digest for bundle in whole[:count]]


def delete(store: Store, pushed: Pushed) -> None:
    """Delete a pushed bundle, its bundle.json files first and the root's before all: the rest never counts as whole.

    Raises:
        StorageError: the store refused; the rest is partial, and garbage the next time.
    """
    for name in sorted(pushed.files, key=lambda name: (not name.endswith(f"/{BUNDLE_FILE}"), name.count("/"), name)):
        store.delete(name)


def named_digests(paths: Sequence[Path]) -> set[str]:
    """Find every digest in some files, and in all files below some folders.

    Raises:
        StorageError: a path that does not exist, cannot be read or names no digest, as a mistyped one does.
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
