"""Bundles in the user's cache, found again by their model, their options, and the files and versions behind them."""

import hashlib
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.machinery import PathFinder
from importlib.metadata import version
from pathlib import Path
from typing import Any

from shardline.storage.bundle import bundle_name
from shardline.storage.bundle_folder import file_digest, open_bundle
from shardline.storage.user_cache import bundles_folder, is_unused, only_one
from shardline.wire.errors import BundleError, UsageError

_PACKAGES = ("torch", "torchvision")  # whose versions decide what a shard holds
_NEAR, _DEEP = 3, 12  # levels of folders that are searched for sources: beside a script, in a package


def find_or_build(
    model: str,
    options: Mapping[str, Any],
    build: Callable[[Path, str], object],
    *,
    name: str | None = None,
    fresh: bool = False,
    say: Callable[[str], None],
) -> Path:
    """Return the folder of the bundle of a model with these options, which is built if the cache does not have it.

    A bundle that another process builds at the same time is waited for.

    Args:
        options: everything that decides what is built, as JSON values, paths, or mappings and sequences of them.
        build: called with the folder and the bundle's name.
        name: name of the bundle (default: that of the model).
        fresh: build it even if the cache has it.
        say: called with a line of text that says which bundle is used.

    Raises:
        UsageError: the bundle is to be built again, and another process serves it.
        BundleError: no name can be made of the model's.
        StorageError: the cache cannot be written.
    """
    chosen = bundle_name(name or _short(model))
    folder = bundles_folder() / f"{chosen}-{cache_key(model, options)}"
    with only_one(folder.with_name(f".{folder.name}.lock")):
        if not fresh and _is_whole(folder):
            say(f"bundle: {folder}, built before from the same model, options and torch; --fresh builds it again")
        else:
            if folder.exists() and not is_unused(folder):
                raise UsageError(f"{folder} is served by another process: stop that, or leave out --fresh")
            say(f"build: {model} as {folder}")
            build(folder, chosen)
    return folder


def _short(model: str) -> str:
    """Name of a model without its source: 'resnet50' of 'torchvision:resnet50', 'net' of 'exported/net.pt2'."""
    reference = model.partition("?")[0]
    return Path(reference).stem if reference.endswith((".pt2", ".json")) else reference.rpartition(":")[2]


def cache_key(model: str, options: Mapping[str, Any]) -> str:
    """Digest of a model and its options, with the content of the files that they name and the code that runs."""
    content = [
        _described(model),
        _described(options),
        [f"{package} {version(package)}" for package in _PACKAGES],
        [sys.version, platform.machine(), platform.node()],
        [_stamp(path) for path in _sources(model)],
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def _described(value: Any) -> Any:
    """Return a value as JSON, with the digest of a file that a text or path names, and the files of a folder."""
    if isinstance(value, Mapping):
        return {str(key): _described(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_described(item) for item in value]
    if isinstance(value, str | Path):
        path = Path(value)
        if path.is_file():
            return [str(value), file_digest(path).sha256]
        if isinstance(value, Path) and path.is_dir():
            return [str(value), sorted(_stamp(file) for file in path.rglob("*") if file.is_file())]
        return str(value)
    return value if isinstance(value, bool | int | float | None) else repr(value)


def _sources(model: str) -> Iterator[Path]:
    """Yield the files of the module that a reference names and those beside it, and Shardline's own."""
    yield from _code(Path(__file__).absolute().parent, _DEEP)
    top = model.partition(":")[0].partition(".")[0]
    if ":" not in model or not top.isidentifier():
        return
    spec = PathFinder.find_spec(top, ["", *sys.path])
    if spec is None:
        return
    for folder in spec.submodule_search_locations or ():
        yield from _code(Path(folder), _DEEP)
    if spec.origin is not None and not spec.submodule_search_locations:
        yield from _code(Path(spec.origin).absolute().parent, _NEAR)


def _code(folder: Path, levels: int) -> Iterator[Path]:
    """Yield the Python files and weights in a folder and below, in order, without those of installed packages."""
    inside = folder.name == "site-packages"
    for where, folders, files in os.walk(folder, followlinks=True):
        deep = len(Path(where).relative_to(folder).parts)
        keep = [name for name in folders if not name.startswith((".", "__")) and name != "site-packages"]
        folders[:] = [] if inside or deep >= levels else sorted(keep)
        yield from (Path(where, name) for name in sorted(files) if name.endswith((".py", ".safetensors")))


def _stamp(path: Path) -> tuple[str, int, int]:
    stat = path.stat()
    return str(path), stat.st_size, stat.st_mtime_ns


def _is_whole(folder: Path) -> bool:
    try:
        open_bundle(folder)
    except BundleError:
        return False
    return True
