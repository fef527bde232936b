"""Searches by faiss against a brute-force search; indexes saved, opened, extended and refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from services.embeddings import WIDTH, index_of, names, reply, vectors

from shardline.tasks.faiss_index import FaissIndex, make_index, open_index
from shardline.tasks.index import (
    ENTRIES_FILE,
    INDEX_FILE,
    INDEX_KINDS,
    METRICS,
    IndexKind,
    Metric,
)
from shardline.wire.errors import BundleError


def brute(known: NDArray[Any], asked: NDArray[Any], metric: Metric) -> NDArray[np.float64]:
    """Every distance, [asked, known], in float64."""
    known, asked = known.astype(np.float64), asked.astype(np.float64)
    if metric == "l2":
        euclidean: NDArray[np.float64] = np.linalg.norm(asked[:, None] - known, axis=2)
        return euclidean
    lengths = np.linalg.norm(asked, axis=1)[:, None] * np.linalg.norm(known, axis=1)
    cosine: NDArray[np.float64] = 1 - asked @ known.T / np.where(lengths > 0, lengths, 1)
    return cosine


@pytest.fixture(scope="module", params=INDEX_KINDS)
def index(request: pytest.FixtureRequest) -> FaissIndex:
    """An index of each kind with 400 vectors."""
    return index_of(400, request.param)


@settings(deadline=None, max_examples=40)
@given(
    count=st.integers(1, 60),
    asked=st.integers(1, 40),
    k=st.integers(1, 70),
    metric=st.sampled_from(METRICS),
    seed=st.integers(0, 2**16),
    width=st.integers(1, 9),
)
def test_a_flat_index_finds_what_brute_force_finds(
    count: int, asked: int, k: int, metric: Metric, seed: int, width: int
) -> None:
    known, questions = vectors(count, seed, width), vectors(asked, seed + 1, width)
    made = make_index(known, names(count), [None] * count, kind="flat", metric=metric)

    found = made.search(questions, k)

    distances = brute(known, questions, metric)
    for row, neighbours in zip(distances, found, strict=True):
        assert len(neighbours.positions) == len(set(neighbours.positions)) == min(k, count)
        np.testing.assert_allclose(neighbours.distances, row[neighbours.positions], atol=2e-3)
        np.testing.assert_allclose(neighbours.distances, np.sort(row)[: min(k, count)], atol=2e-3)
        assert (np.diff(neighbours.distances) >= 0).all()


@settings(deadline=None, max_examples=15)
@given(kind=st.sampled_from(INDEX_KINDS), metric=st.sampled_from(METRICS), seed=st.integers(0, 2**16))
def test_search_all_finds_all_in_every_kind(kind: IndexKind, metric: Metric, seed: int) -> None:
    known, asked = vectors(300, seed), vectors(20, seed + 1)
    made = make_index(known, names(300), [None] * 300, kind=kind, metric=metric)
    exact = make_index(known, names(300), [None] * 300, kind="flat", metric=metric)

    for found, wanted in zip(made.search_all(asked, 7), exact.search(asked, 7), strict=True):
        assert found.positions.tolist() == wanted.positions.tolist()
        np.testing.assert_allclose(found.distances, wanted.distances, atol=1e-5)


@settings(deadline=None, max_examples=15)
@given(kind=st.sampled_from(INDEX_KINDS), count=st.integers(2, 50), seed=st.integers(0, 2**16))
def test_other_vectors_in_the_same_search_change_nothing(kind: IndexKind, count: int, seed: int) -> None:
    made = index_of(200, kind)
    asked = vectors(count, seed)

    together = made.search(asked, 7)

    for neighbours, row in zip(together, asked, strict=True):
        [alone] = made.search(row[None], 7)
        assert alone.positions.tolist() == neighbours.positions.tolist()
        assert alone.distances.tobytes() == neighbours.distances.tobytes()


@pytest.mark.parametrize("kind", INDEX_KINDS)
@pytest.mark.parametrize("metric", METRICS)
def test_saved_and_opened_it_is_the_same_and_the_same_bytes(kind: IndexKind, metric: Metric, tmp_path: Path) -> None:
    made = index_of(300, kind, metric).with_effort(0 if kind == "flat" else 4)
    made.save(tmp_path)
    written = (tmp_path / INDEX_FILE).read_bytes()

    again = open_index(tmp_path, WIDTH)
    again.save(tmp_path)
    other = index_of(300, kind, metric)
    other.save(tmp_path / "..")

    assert again.entries == made.entries
    assert reply(vectors(9, 5), again, k=4) == reply(vectors(9, 5), made, k=4)
    assert (tmp_path / INDEX_FILE).read_bytes() == (tmp_path / ".." / INDEX_FILE).read_bytes() == written


def test_more_can_be_added(index: FaissIndex) -> None:
    entries = index.entries
    grown = index_of(400, entries.kind).add(vectors(20, 77), [f"new {number}" for number in range(20)], ["new"] * 20)

    [prediction] = reply(vectors(20, 77)[3:4], grown, k=1)

    assert (prediction["ids"], prediction["pred"]) == (["new 3"], "new")
    assert len(grown.entries.ids) == 420
    with pytest.raises(BundleError, match="1 pictures would be in the index twice, the first is 'picture 7'"):
        grown.add(vectors(1), ["picture 7"], [None])


def test_ids_are_there_once() -> None:
    with pytest.raises(BundleError, match="1 pictures would be in the index twice, the first is 'a'"):
        make_index(vectors(3), ["a", "b", "a"], [None] * 3, kind="flat", metric="l2")


class TestOpening:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        index_of(100, "ivf").save(tmp_path)
        return tmp_path

    def test_another_width(self, folder: Path) -> None:
        with pytest.raises(BundleError, match="holds vectors of 16 numbers, and this model's embeddings have 8"):
            open_index(folder, 8)

    def test_another_kind_than_it_says(self, folder: Path) -> None:
        self.alter(folder, kind="flat")

        with pytest.raises(BundleError, match="begins with b'IwFl', an index of the kind flat with b'IxF2'"):
            open_index(folder, WIDTH)

    def test_a_kind_that_nobody_knows(self, folder: Path) -> None:
        (folder / INDEX_FILE).write_bytes(b"IxPT" + (folder / INDEX_FILE).read_bytes()[4:])

        with pytest.raises(BundleError, match="begins with b'IxPT'"):
            open_index(folder, WIDTH)

    @pytest.mark.parametrize("length", [0, 3, 4, 40, 1000])
    def test_cut_off(self, folder: Path, length: int) -> None:
        (folder / INDEX_FILE).write_bytes((folder / INDEX_FILE).read_bytes()[:length])

        with pytest.raises(BundleError, match="build the index again"):
            open_index(folder, WIDTH)

    def test_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(BundleError, match="cannot be read"):
            open_index(tmp_path, WIDTH)

    @pytest.mark.parametrize(
        "change",
        [{"ids": ["a"], "labels": [None]}, {"metric": "l2"}, {"width": 16, "ids": ["b"] * 99, "labels": ["x"] * 99}],
    )
    def test_entries_of_another_index(self, folder: Path, change: dict[str, Any]) -> None:
        self.alter(folder, **change)

        with pytest.raises(BundleError, match="holds 100 vectors of 16 numbers"):
            open_index(folder, WIDTH)

    def alter(self, folder: Path, **change: Any) -> None:
        document = json.loads((folder / ENTRIES_FILE).read_text())
        (folder / ENTRIES_FILE).write_text(json.dumps(document | change))
