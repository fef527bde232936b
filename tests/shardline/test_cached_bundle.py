"""Bundles in the cache: found again while everything that they depend on is the same, and built again otherwise."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shardline.cached_bundle import cache_key, find_or_build
from shardline.storage.user_cache import in_use
from shardline.wire.errors import BundleError, UsageError

Find = Callable[..., Path]


@pytest.fixture
def built() -> list[Path]:
    """The folders that were built, in order."""
    return []


@pytest.fixture
def find(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, small_bundle: Path, built: list[Path]) -> Find:
    """find_or_build with a cache of its own, where building is copying."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def build(folder: Path, _: str) -> None:
        built.append(folder)
        shutil.copytree(small_bundle, folder, dirs_exist_ok=True)

    def call(model: str = "services.small_models:residual", said: Any = lambda _: None, **given: Any) -> Path:
        more = {name: given.pop(name) for name in ("name", "fresh") if name in given}
        return find_or_build(model, given, build, say=said, **more)

    return call


def test_found_again(find: Find, built: list[Path], tmp_path: Path) -> None:
    lines: list[str] = []

    folder = find(stages=3)
    again = find(stages=3, said=lines.append)

    assert folder == again
    assert folder.parent == tmp_path / "cache" / "shardline" / "bundles"
    assert folder.name.startswith("residual-")
    assert built == [folder]
    assert lines == [f"bundle: {folder}, built before from the same model, options and torch; --fresh builds it again"]


def test_other_options_and_names_are_other_bundles(find: Find, built: list[Path]) -> None:
    folders = {find(stages=3), find(stages=2), find("services.small_models:slow", stages=3), find(stages=3, name="net")}

    assert len(folders) == 4
    assert len(built) == 4
    assert any(folder.name.startswith("net-") for folder in folders)


def test_built_again(find: Find, built: list[Path]) -> None:
    folder = find()
    find(fresh=True)
    (folder / "stages" / "0" / "shard.pt2").write_bytes(b"damaged")
    find()

    assert built == [folder] * 3


def test_one_that_is_served_is_not_replaced(find: Find) -> None:
    folder = find()

    with in_use(folder), pytest.raises(UsageError, match="is served by another process"):
        find(fresh=True)


def test_a_name_that_kubernetes_has_not(find: Find) -> None:
    with pytest.raises(BundleError, match="give --name"):
        find("mine:_1")


def test_files_decide_by_their_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights, a model's source and the folder of pictures; a change of a file's time alone changes no weights."""
    monkeypatch.chdir(tmp_path)
    weights, source, pictures = tmp_path / "net.pt", tmp_path / "mine.py", tmp_path / "pictures"
    pictures.mkdir()
    weights.write_bytes(b"1")
    source.write_text("def net(): ...\n")

    def key() -> str:
        return cache_key("mine:net", {"weights": str(weights), "pictures": pictures})

    keys = [key()]
    weights.touch()
    assert key() == keys[0]
    changes: list[Callable[[], object]] = [
        lambda: weights.write_bytes(b"2"),
        lambda: source.write_text("def net(): return 1\n"),
        lambda: (pictures / "cat.jpg").write_bytes(b"cat"),
        lambda: (tmp_path / "layers.py").write_text("WIDTH = 3\n"),
    ]
    for change in changes:
        change()
        keys.append(key())

    assert len(set(keys)) == 5
