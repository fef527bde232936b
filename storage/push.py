"""Bundles to and from where pods fetch them, addressed by their content.

    URI/NAME/DIGEST/…    the bundle's own tree; DIGEST is the sha256 of bundle.json, in hex

What lies under a digest never changes, so a push only adds: files that are there and equal are skipped, and whoever
runs the bundle before is not disturbed. bundle.json goes last, in each stage's folder and then at the root: a reader
that finds it finds everything. A push that is killed and repeated sends the rest.

    uri = push(Path("bundles/resnet50"), "gs://models/vision")
    pull(uri, Path("elsewhere/resnet50"))
"""

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from shardline.storage.bundle import BUNDLE_FILE, STAGE_FILE, Bundle, digest_of, parse_bundle, stage_folder
from shardline.storage.bundle_folder import file_digest, read_bundle, read_stage, writing_bundle
from shardline.storage.parallel import for_each
from shardline.storage.store import DEFAULT_ACCESS, SILENT, Access, Progress, Store, as_storage_error, open_store
from shardline.wire.errors import BundleError, StorageError

_DIGEST = re.compile(r"[0-9a-f]{64}")
_PARTIAL = ".partial"  # what a file is called until all of it was fetched


def destination(bundle: Bundle, uri: str) -> str:
    """The URI of this bundle once it was pushed to `uri`; stage i is at <it>/stages/<i>."""
    return f"{uri if uri.endswith('/') else uri + '/'}{prefix_of(bundle)}"


def prefix_of(bundle: Bundle) -> str:
    """'resnet50/5421…': where the bundle lies below the URI that it was pushed to."""
    return f"{bundle.name}/{bundle.digest.removeprefix('sha256:')}"


def names_of(bundle: Bundle) -> list[list[str]]:
    """Every file of the bundle, in the order in which they may be seen: all of one list before any of the next."""
    stages = [stage_folder(stage.index) for stage in bundle.stages]
    files = sorted(bundle.files) + [f"{stage}/{STAGE_FILE}" for stage in stages]
    return [files, [f"{stage}/{BUNDLE_FILE}" for stage in stages], [BUNDLE_FILE]]


def push(folder: Path, uri: str, *, access: Access = DEFAULT_ACCESS, progress: Progress | None = None) -> str:
    """Send the bundle at `folder` to below `uri`, skipping what is there and equal -> its own URI, `destination`'s.

    Raises:
        BundleError: not a bundle, or one that is incomplete or altered; nothing was sent.
        StorageError: `uri` cannot be written; what was sent is kept for the next time.
    """
    bundle = read_bundle(folder)
    for stage in bundle.stages:
        read_stage(folder / stage_folder(stage.index), bundle.digest)
    push_to(open_store(uri, access), folder, bundle, progress or SILENT)
    return destination(bundle, uri)


def push_to(store: Store, folder: Path, bundle: Bundle, progress: Progress = SILENT) -> None:
    """`push` of a checked bundle to a store that is open already."""

    def send(name: str, progress: Progress) -> None:
        path = folder / name
        if store.holds(f"{prefix}/{name}", path):
            progress.there(path.stat().st_size)
        else:
            store.put(f"{prefix}/{name}", path, progress)

    prefix = prefix_of(bundle)
    order = names_of(bundle)
    progress.begin(sum((folder / name).stat().st_size for names in order for name in names))
    for names in order:
        for_each(names, send, progress)


def pull(uri: str, folder: Path, *, access: Access = DEFAULT_ACCESS, progress: Progress | None = None) -> Bundle:
    """Fetch the bundle at `uri`, a pushed one's own, and put it at `folder` in one step once all of it was checked.

    Nothing is fetched if `folder` is that bundle already. What an earlier pull fetched before it was broken off lies
    beside it and is used again. Of two pulls to one folder the second waits for the first, and finds the bundle there.

    Raises:
        BundleError: what came is incomplete or altered, or `folder` is something else than a bundle.
        StorageError: there is no bundle at `uri`, or it cannot be read.
    """
    store = open_store(uri, access)
    bundle = _pushed(store, uri)
    folder = folder.resolve()
    if _is_at(folder, bundle):
        return bundle
    with _only_one(folder.with_name(f".{folder.name}.pull.{bundle.digest[-12:]}")) as fetched:
        if not _is_at(folder, bundle):
            _pull_from(store, bundle, folder, fetched, progress or SILENT)
    return bundle


def _pushed(store: Store, uri: str) -> Bundle:
    names = store.names()
    if BUNDLE_FILE not in names:
        found = f"{len(names)} files and no {BUNDLE_FILE}, as a push that was not finished" if names else "no files"
        raise StorageError(f"{uri} holds {found}: give the URI that `shardline push` printed, or push again")
    data = store.read(BUNDLE_FILE)
    named = uri.rstrip("/").rpartition("/")[2]
    if _DIGEST.fullmatch(named) and digest_of(data) != f"sha256:{named}":
        raise BundleError(f"{uri} holds bundle {digest_of(data)}, not the one that it is named after: push it again")
    return parse_bundle(data)


def _is_at(folder: Path, bundle: Bundle) -> bool:
    try:
        return read_bundle(folder).digest == bundle.digest
    except BundleError:
        return False


@contextmanager
def _only_one(folder: Path) -> Iterator[Path]:
    """The folder, made if need be, for this process alone: others wait here. What is left in it is kept."""
    with as_storage_error(str(folder)):
        locked = _locked(folder)
    try:
        yield folder
    finally:
        with suppress(OSError):
            folder.rmdir()
        os.close(locked)


def _locked(folder: Path) -> int:
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:  # removed since by who had it
            continue
        fcntl.flock(opened, fcntl.LOCK_EX)
        if folder.exists() and folder.stat().st_ino == os.fstat(opened).st_ino:
            return opened
        os.close(opened)


def _pull_from(store: Store, bundle: Bundle, folder: Path, fetched: Path, progress: Progress) -> None:
    def fetch(name: str, progress: Progress) -> None:
        path = fetched / name
        if not _is_fetched(path, name, bundle):
            _fetch(store, name, path, progress)
        else:
            progress.there(path.stat().st_size)

    with writing_bundle(folder) as (draft, _):
        sizes = {entry.name: entry.size_bytes for entry in store.entries()}
        progress.begin(sum(sizes.get(name, 0) for names in names_of(bundle) for name in names))
        for names in names_of(bundle):
            for_each(names, fetch, progress)
        read_bundle(fetched)
        with as_storage_error(str(folder)):
            for path in fetched.iterdir():
                path.rename(draft / path.name)


def _is_fetched(path: Path, name: str, bundle: Bundle) -> bool:
    """Files that bundle.json does not list are small: those are fetched anew."""
    return path.is_file() and file_digest(path) == bundle.files.get(name)


def _fetch(store: Store, name: str, path: Path, progress: Progress) -> None:
    partial = path.with_name(path.name + _PARTIAL)
    store.save(name, partial, progress)
    with as_storage_error(str(path)):
        if partial.is_symlink():  # a folder gives links, and a bundle that was pulled stands alone
            source = partial.resolve()
            partial.unlink()
            shutil.copyfile(source, partial)
        partial.replace(path)
