"""Push bundles to a store from which pods fetch them, and pull them back, addressed by their content.

    URI/NAME/DIGEST/…    the bundle's own tree; DIGEST is the sha256 of bundle.json, in hex

The files under a digest never change, so a push only adds: files that are there and equal are skipped, and pods that
run another version are not disturbed. bundle.json is sent last, in each stage's folder and then at the root: a reader
who finds it finds everything. A push that was killed sends, when it is repeated, only the files that are missing.

    uri = push(Path("bundles/resnet50"), "gs://models/vision")
    pull(uri, Path("elsewhere/resnet50"))
"""

import fcntl
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event

from shardline.storage.bundle import BUNDLE_FILE, Bundle, digest_of, parse_bundle, publishing_order, stage_folder
from shardline.storage.bundle_folder import file_digest, open_bundle, read_stage, writing_bundle
from shardline.storage.open import open_store
from shardline.storage.store import DEFAULT_ACCESS, SILENT, Access, Progress, Store, as_storage_error
from shardline.wire.errors import BundleError, StorageError

_DIGEST = re.compile(r"[0-9a-f]{64}")
_PARTIAL = ".partial"  # suffix of a file until all of it was fetched
_AT_ONCE = 8  # files that are sent or fetched at the same time


def destination(bundle: Bundle, uri: str) -> str:
    """The URI of a bundle after a push to `uri`; stage i lies at that URI + /stages/i."""
    return f"{uri if uri.endswith('/') else uri + '/'}{prefix_of(bundle)}"


def prefix_of(bundle: Bundle) -> str:
    """Name and digest, 'resnet50/5421…': the bundle's path below the URI that it was pushed to."""
    return f"{bundle.name}/{bundle.digest.removeprefix('sha256:')}"


def push(folder: Path, uri: str, *, access: Access = DEFAULT_ACCESS, progress: Progress | None = None) -> str:
    """Send the bundle at `folder` to a place below `uri`, skipping files that are there and equal.

    Returns:
        The bundle's own URI, as `destination` gives it.

    Raises:
        BundleError: not a bundle, or one that is incomplete or altered; nothing was sent.
        StorageError: `uri` cannot be written; files that were sent stay there for the next push.
    """
    bundle = open_bundle(folder)
    for stage in bundle.stages:
        read_stage(folder / stage_folder(stage.index), bundle.digest)
    push_to(open_store(uri, access), folder, bundle, progress or SILENT)
    return destination(bundle, uri)


def push_to(store: Store, folder: Path, bundle: Bundle, progress: Progress = SILENT) -> None:
    """Send a bundle that was checked to a store that is open."""

    def send(name: str, progress: Progress) -> None:
        path = folder / name
        # the root's bundle.json is always sent: its age is the bundle's, by which garbage collection goes
        if name != BUNDLE_FILE and store.holds(f"{prefix}/{name}", path):
            progress.skipped(path.stat().st_size)
        else:
            store.put(f"{prefix}/{name}", path, progress)

    prefix = prefix_of(bundle)
    order = publishing_order(bundle)
    progress.begin(sum((folder / name).stat().st_size for names in order for name in names))
    for names in order:
        _for_each(names, send, progress)


def pull(uri: str, folder: Path, *, access: Access = DEFAULT_ACCESS, progress: Progress | None = None) -> Bundle:
    """Fetch the bundle at `uri`, as `push` returned it, check it, and put it at `folder` once it is whole.

    Nothing is fetched if `folder` is that bundle already. Files that an interrupted pull fetched lie beside `folder`
    and are used again. Of two pulls to one folder the second waits for the first and then finds the bundle there.

    Raises:
        BundleError: what was fetched is incomplete or altered, or `folder` is something else than a bundle.
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
        return open_bundle(folder).digest == bundle.digest
    except BundleError:
        return False


@contextmanager
def _only_one(folder: Path) -> Iterator[Path]:
    """Make and lock a folder for this process alone: others wait here. Files left in it are kept."""
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
        except FileNotFoundError:  # its last user has removed it meanwhile
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
            progress.skipped(path.stat().st_size)

    if folder.exists() and not (folder / BUNDLE_FILE).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise BundleError(f"{folder} exists and is not a bundle: name another folder, or remove it")
    with writing_bundle(folder) as (draft, _):
        sizes = {entry.name: entry.size_bytes for entry in store.entries()}
        progress.begin(sum(sizes.get(name, 0) for names in publishing_order(bundle) for name in names))
        for names in publishing_order(bundle):
            _for_each(names, fetch, progress)
        open_bundle(fetched)
        with as_storage_error(str(folder)):
            for path in fetched.iterdir():
                path.rename(draft / path.name)


def _is_fetched(path: Path, name: str, bundle: Bundle) -> bool:
    """Tell whether an earlier pull left the right file; what bundle.json does not list is small and refetched."""
    return path.is_file() and file_digest(path) == bundle.files.get(name)


def _fetch(store: Store, name: str, path: Path, progress: Progress) -> None:
    partial = path.with_name(path.name + _PARTIAL)
    store.save(name, partial, progress)
    with as_storage_error(str(path)):
        if partial.is_symlink():  # a FolderStore makes links, and a pulled bundle must not depend on its source
            source = partial.resolve()
            partial.unlink()
            shutil.copyfile(source, partial)
        partial.replace(path)


def _for_each(names: Sequence[str], move: Callable[[str, Progress], None], progress: Progress) -> None:
    """Call `move(name, progress)` for every name, in threads; the first failure, or Ctrl-C, stops the rest.

    Raises:
        Exception: the first that `move` raised. The other threads end at their next call of `progress`.
    """
    stoppable = _StoppableProgress(progress)
    with ThreadPoolExecutor(max(1, min(_AT_ONCE, len(names))), thread_name_prefix="files") as pool:
        try:
            for done in as_completed([pool.submit(move, name, stoppable) for name in names]):
                done.result()
        except BaseException:
            stoppable.stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class _StoppedError(Exception):
    """Ends a thread whose work is not needed any more; it never leaves `_for_each`."""


class _StoppableProgress:
    """A Progress that passes calls on until `stopped` is set, and then ends the calling thread."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.stopped = Event()

    def begin(self, total_bytes: int) -> None:
        self._progress.begin(total_bytes)

    def skipped(self, size_bytes: int) -> None:
        self._check()
        self._progress.skipped(size_bytes)

    def moved(self, size_bytes: int) -> None:
        self._check()
        self._progress.moved(size_bytes)

    def _check(self) -> None:
        if self.stopped.is_set():
            raise _StoppedError
