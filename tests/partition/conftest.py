"""Fixtures of the folder: a small analysed model, and changed bundles whose digests all fit."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from services.retrieval import build_retrieval

from shardline.partition.capture import capture
from shardline.partition.liveness import Liveness, analyse
from shardline.partition.models import load_model
from shardline.storage.bundle import BUNDLE_FILE, STAGE_FILE
from shardline.storage.bundle_folder import open_bundle, writing_bundle

Reseal = Callable[..., Path]


@pytest.fixture
def reseal(tmp_path: Path) -> Reseal:
    """reseal(bundle, change, **fields) -> a copy: `change(folder)` alters its files, `fields` those of bundle.json."""

    def make(source: Path, change: Callable[[Path], None] = lambda _: None, **fields: Any) -> Path:
        target = tmp_path / "resealed"
        with writing_bundle(target) as (draft, seal):
            shutil.copytree(source, draft, dirs_exist_ok=True, ignore=shutil.ignore_patterns(BUNDLE_FILE, STAGE_FILE))
            change(draft)
            seal(dataclasses.replace(open_bundle(source), files={}, **fields))
        return target

    return make


@pytest.fixture(scope="session")
def residual() -> Liveness:
    """Seventeen positions, nine of them with names."""
    return analyse(capture(load_model("services.small_models:residual", size=32)))


@pytest.fixture(scope="session")
def unnamed(residual: Liveness) -> Liveness:
    """The same without names."""
    positions = tuple(dataclasses.replace(position, names=()) for position in residual.positions)
    return dataclasses.replace(residual, positions=positions)


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle for retrieval, without an index; never alter it."""
    return build_retrieval(tmp_path_factory.mktemp("bundles") / "likeness")


@pytest.fixture
def bundle(bare: Path, tmp_path: Path) -> Path:
    """A copy of the bundle for retrieval."""
    return shutil.copytree(bare, tmp_path / "likeness")
