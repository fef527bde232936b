"""A bundle as a folder: written beside it and renamed, read with every digest checked.

docs/bundle.md is the normative page.
"""

import hashlib
import json
import os
import reprlib
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
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
    load_object,
    parse_bundle,
    stage_folder,
)
from shardline.storage.user_cache import in_use
from shardline.wire.errors import BundleError


def file_digest(path: Path) -> FileDigest:
    """Digest a file without reading all of it into memory."""
    with path.open("rb") as file:
        return FileDigest(sha256=hashlib.file_digest(file, "sha256").hexdigest(), size_bytes=path.stat().st_size)


@contextmanager
def writing_bundle(folder: Path) -> Iterator[tuple[Path, Callable[[Bundle], Bundle]]]:
    """Write a bundle beside `folder`, then rename it: no reader sees a part of it.

    What stood at `folder` is renamed first, so for an instant nothing is there.

    Yields:
        An empty folder to write shards into, and `seal(bundle) -> Bundle`, which digests every file there, writes
        bundle.json and the stages' copies, and returns the bundle with its files.

    Raises:
        BundleError: `folder` is something that is not a bundle, or cannot be written.
    """
    folder = folder.resolve()
    draft = _draft_beside(folder)
    try:
        with in_use(draft):
            yield draft, lambda bundle: _seal(draft, bundle)
            if not (draft / BUNDLE_FILE).is_file():
                raise BundleError("the bundle was not sealed")
            draft.chmod(0o755)
            _replace(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def check_replaced(folder: Path, model: str) -> None:
    """Check that a new bundle of `model`, a reference, would replace neither another model's at `folder` nor an index.

    Raises:
        BundleError: it would.
    """
    try:
        standing = parse_bundle(_read(folder, BUNDLE_FILE))
    except BundleError:  # nothing is there, or what is there cannot be read: `writing_bundle` decides
        return
    found = f"the bundle of another model, {standing.model}, not of {model}" if standing.model != model else ""
    if not found and any(
        path.startswith(f"{stage_folder(len(standing.stages) - 1)}/index.") for path in standing.files
    ):
        found = "a bundle with an index of pictures, which the new one would not have"
    if found:
        raise BundleError(f"{folder} holds {found}: choose another --out, or add --replace")


@contextmanager
def changing_bundle(folder: Path, changed: Collection[str]) -> Iterator[tuple[Path, Bundle]]:
    """Replace some files of a bundle, which makes it another bundle with a digest of its own.

    What does not change is linked, not copied, where the file system can: a large model's shards are stored once. If
    the block fails, the old bundle stays as it was.

    Args:
        folder: the bundle's.
        changed: paths inside the bundle that the block writes again or leaves out.

    Yields:
        A folder that holds all other files of the bundle, and the bundle before the change.

    Raises:
        BundleError: not a bundle, one that is altered, or one that another process changed meanwhile.
    """
    before = open_bundle(folder)
    with writing_bundle(folder) as (draft, seal):
        for path in before.files.keys() - set(changed):
            (draft / path).parent.mkdir(parents=True, exist_ok=True)
            _link(folder / path, draft / path)
        yield draft, before
        seal(before)
        if open_bundle(folder).digest != before.digest:
            raise BundleError(f"{folder} was changed by another process meanwhile: try again")


def _draft_beside(folder: Path) -> Path:
    """Make a folder on the same file system, so that a rename puts it in place."""
    try:
        if folder.exists() and not (folder / BUNDLE_FILE).is_file() and any(folder.iterdir()):
            raise BundleError(f"{folder} exists and is not a bundle: choose another --out or remove it")
        folder.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{folder.name}.draft.", dir=folder.parent))
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


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def open_bundle(folder: str | Path) -> Bundle:
    """Open the bundle in a folder and check all of it.

    The size and sha256 of every file, and every stage's copy of bundle.json, are compared with bundle.json. Nothing is
    loaded or run. The files of the bundle that is returned can be trusted as far as its `digest` can.

    Args:
        folder: the folder that holds bundle.json.

    Returns:
        The bundle: its model, task, stages with their tensors and costs, and the digest of every file.

    Raises:
        BundleError: there is no bundle, or the first file that is missing or altered.
    """
    folder = Path(folder)
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
    """Open one stage's folder as a pod gets it, with nothing but that stage's own files, and check all of it.

    Args:
        folder: the stage's own folder.
        digest: the bundle's digest as the manifest names it; None trusts whatever bundle.json is there.

    Raises:
        BundleError: what is missing, altered or of another bundle.
    """
    data = _read(folder, BUNDLE_FILE)
    if digest is not None and digest_of(data) != digest:
        raise BundleError(
            f"the shard belongs to bundle {digest_of(data)}, the manifest names {digest}: "
            "render and push from the same bundle"
        )
    bundle = parse_bundle(data)
    stage = _stage_of(bundle, load_object(_read(folder, STAGE_FILE), STAGE_FILE).get("stage"))
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
    """Refuse a program that the bundle does not list: it would be loaded unchecked."""
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
