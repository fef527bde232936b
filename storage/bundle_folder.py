"""A bundle as a folder: written in one step, read with every digest checked.

docs/bundle.md is the normative page.
"""

import hashlib
import json
import reprlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from shardline.storage.bundle import (
    BUNDLE_FILE,
    BUNDLE_JSON_BYTES,
    SHARD_FILE,
    STAGE_FILE,
    WHOLE_FILE,
    Bundle,
    FileDigest,
    Stage,
    digest_of,
    load_json,
    parse_bundle,
    stage_folder,
)
from shardline.wire.errors import BundleError


def file_digest(path: Path) -> FileDigest:
    with path.open("rb") as file:
        return FileDigest(sha256=hashlib.file_digest(file, "sha256").hexdigest(), size_bytes=path.stat().st_size)


@contextmanager
def writing_bundle(folder: Path) -> Iterator[tuple[Path, Callable[[Bundle], Bundle]]]:
    """Build a bundle beside `folder`, then put it there in one step: it is never seen half written.

    Yields an empty folder to put shards into and `seal(bundle) -> Bundle`, which digests every file there, writes
    bundle.json and the stages' copies, and gives back the bundle with its files. What stood at `folder` is replaced.

    Raises:
        BundleError: `folder` is something that is not a bundle, or cannot be written.
    """
    folder = folder.resolve()
    draft = _draft_beside(folder)
    try:
        yield draft, lambda bundle: _seal(draft, bundle)
        if not (draft / BUNDLE_FILE).is_file():
            raise BundleError("the bundle was not sealed")
        draft.chmod(0o755)
        _replace(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _draft_beside(folder: Path) -> Path:
    """A new folder on the same file system, so that a rename puts it in place."""
    try:
        if folder.exists() and not (folder / BUNDLE_FILE).is_file() and any(folder.iterdir()):
            raise BundleError(f"{folder} exists and is not a bundle: choose another --out or remove it")
        folder.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as exc:
        raise BundleError(f"{folder} cannot be written ({exc.strerror}): choose another --out") from exc


def _seal(draft: Path, bundle: Bundle) -> Bundle:
    files = {
        path.relative_to(draft).as_posix(): file_digest(path) for path in sorted(draft.rglob("*")) if path.is_file()
    }
    sealed = Bundle(**{name: getattr(bundle, name) for name in Bundle.__slots__ if name != "files"}, files=files)
    for stage in sealed.stages:
        where = draft / stage_folder(stage.index)
        (where / BUNDLE_FILE).write_bytes(sealed.to_json())
        (where / STAGE_FILE).write_text(json.dumps({"stage": stage.index}) + "\n")
    (draft / BUNDLE_FILE).write_bytes(sealed.to_json())
    return sealed


def _replace(draft: Path, folder: Path) -> None:
    if not folder.exists():
        draft.rename(folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
    folder.rename(old)
    try:
        draft.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def read_bundle(folder: Path) -> Bundle:
    """Read and check the bundle at `folder`: every file's size and sha256, and every stage's copy of bundle.json.

    Raises:
        BundleError: naming the first file that is missing or altered.
    """
    data = _read(folder, BUNDLE_FILE)
    bundle = parse_bundle(data)
    for path, expected in bundle.files.items():
        _check_file(folder / path, path, expected)
    if (folder / WHOLE_FILE).exists():
        _check_listed(bundle, WHOLE_FILE)
    for stage in bundle.stages:
        where = stage_folder(stage.index)
        _check_listed(bundle, f"{where}/{SHARD_FILE}")
        if _read(folder, f"{where}/{BUNDLE_FILE}") != data:
            raise BundleError(f"{where}/{BUNDLE_FILE} differs from {BUNDLE_FILE}: build the bundle again")
    return bundle


def read_stage(folder: Path, digest: str | None = None) -> tuple[Bundle, Stage]:
    """Read and check one stage's folder, as a pod gets it: nothing but that stage's own files.

    Args:
        digest: the bundle's digest as the manifest names it; None trusts whatever bundle.json is there.

    Raises:
        BundleError: naming what is missing, altered or of another bundle.
    """
    data = _read(folder, BUNDLE_FILE)
    if digest is not None and digest_of(data) != digest:
        raise BundleError(
            f"the shard belongs to bundle {digest_of(data)}, the manifest names {digest}: "
            "render and push from the same bundle"
        )
    bundle = parse_bundle(data)
    stage = _stage_of(bundle, load_json(_read(folder, STAGE_FILE), STAGE_FILE).get("stage"))
    prefix = stage_folder(stage.index) + "/"
    _check_listed(bundle, prefix + SHARD_FILE)
    for path, expected in bundle.files.items():
        if path.startswith(prefix):
            _check_file(folder / path.removeprefix(prefix), path, expected)
    return bundle, stage


def _stage_of(bundle: Bundle, index: object) -> Stage:
    if type(index) is not int or not 0 <= index < len(bundle.stages):
        raise BundleError(
            f"{STAGE_FILE} names stage {reprlib.repr(index)}, the bundle has 0 to {len(bundle.stages) - 1}: "
            "push the bundle again"
        )
    return bundle.stages[index]


def _check_listed(bundle: Bundle, path: str) -> None:
    """A program that the bundle does not list would be loaded unchecked."""
    if path not in bundle.files:
        raise BundleError(f"{BUNDLE_FILE} does not list {path}: build the bundle again")


def _read(folder: Path, name: str) -> bytes:
    with _as_bundle_error(f"{folder / name}"), (folder / name).open("rb") as file:
        return file.read(BUNDLE_JSON_BYTES + 1)


def _check_file(path: Path, name: str, expected: FileDigest) -> None:
    if not path.is_file():
        raise BundleError(f"{name} is missing: the bundle lists it; push or build it again")
    with _as_bundle_error(f"{path}"):
        size = path.stat().st_size
        if size != expected.size_bytes:
            raise BundleError(
                f"{name} has {size} bytes, the bundle lists {expected.size_bytes}: push or build it again"
            )
        found = file_digest(path).sha256
    if found != expected.sha256:
        raise BundleError(f"{name} has sha256 {found}, the bundle lists {expected.sha256}: push or build it again")


@contextmanager
def _as_bundle_error(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise BundleError(f"{what} cannot be read ({exc.strerror}): is it a bundle?") from exc
