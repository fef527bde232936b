"""Opening of a bundle's index by its last shard."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from services.retrieval import index_folder, pictures, prove

from shardline.partition.indexing import add_to_index, build_index
from shardline.partition.lookup import index_of
from shardline.storage.bundle import stage_folder
from shardline.storage.bundle_folder import open_bundle
from shardline.tasks.faiss_index import make_index
from shardline.tasks.index import ENTRIES_FILE, INDEX_FILE
from shardline.wire.errors import BundleError


def test_a_bundle_without_an_index_has_nothing_to_answer_from(bare: Path) -> None:
    described = open_bundle(bare)

    assert "golden.json" not in described.files
    assert index_of(bare / stage_folder(0), described, described.stages[0]) is None
    with pytest.raises(BundleError, match="has no index: build one by `shardline index build"):
        index_of(index_folder(bare), described, described.stages[1])
    with pytest.raises(BundleError, match="has no index"):
        add_to_index(bare, pictures(5), prove)


def test_an_index_of_another_width_is_refused(bundle: Path, reseal: Callable[..., Path]) -> None:
    build_index(bundle, pictures(20), prove)

    def change(draft: Path) -> None:
        make_index(np.eye(5), list("abcde"), [None] * 5, kind="flat", metric="l2").save(index_folder(draft))

    altered = reseal(bundle, change)
    described = open_bundle(altered)

    with pytest.raises(BundleError, match="holds vectors of 5 numbers, and this model's embeddings have 8"):
        index_of(index_folder(altered), described, described.stages[1])


def test_files_that_are_not_listed_are_no_index(bundle: Path) -> None:
    make_index(np.eye(8), list("abcdefgh"), [None] * 8, kind="flat", metric="l2").save(index_folder(bundle))

    described = open_bundle(bundle)

    assert (index_folder(bundle) / INDEX_FILE).exists()
    assert (index_folder(bundle) / ENTRIES_FILE).exists()
    with pytest.raises(BundleError, match="has no index"):
        index_of(index_folder(bundle), described, described.stages[1])
