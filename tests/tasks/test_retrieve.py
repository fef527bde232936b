"""The nearest by faiss against the nearest by looking at all; votes, parameters, and what is refused."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardline.tasks.entries import KINDS, METRICS, Entries, Kind, Metric, parse_entries
from shardline.tasks.recall import WANTED, least_effort, recall
from shardline.tasks.registry import task_code
from shardline.tasks.request import Index, Request
from shardline.tasks.retrieve import ENTRIES_FILE, INDEX_FILE, FaissIndex, make_index, open_index
from shardline.tasks.retrieve import reply as reply_to
from shardline.tasks.votes import vote
from shardline.wire.errors import BundleError, RequestError, ShardlineError

WIDTH = 16


def names(count: int) -> list[str]:
    return [f"picture {each}" for each in range(count)]


def vectors(count: int, seed: int = 0, width: int = WIDTH) -> np.ndarray:
    """Around ten places, as embeddings are."""
    random = np.random.default_rng(seed)
    places = np.random.default_rng(1).normal(size=(10, width))
    return (places[random.integers(0, 10, count)] + 0.3 * random.normal(size=(count, width))).astype(np.float32)


def index_of(
    count: int, kind: Kind = "flat", metric: Metric = "cosine", labels: Sequence[str | None] = ()
) -> FaissIndex:
    return make_index(
        vectors(count), names(count), labels or [str(each % 3) for each in range(count)], kind=kind, metric=metric
    )


def brute(known: np.ndarray, asked: np.ndarray, metric: Metric) -> np.ndarray:
    """Every distance, [asked, known], in float64."""
    known, asked = known.astype(np.float64), asked.astype(np.float64)
    if metric == "l2":
        return np.linalg.norm(asked[:, None] - known, axis=2)
    lengths = np.linalg.norm(asked, axis=1)[:, None] * np.linalg.norm(known, axis=1)
    return 1 - asked @ known.T / np.where(lengths > 0, lengths, 1)


def reply(embedding: np.ndarray, index: Index | None, **parameters: Any) -> list[Any]:
    return reply_to(Request(outputs={"embedding": embedding}, parameters=parameters, index=index))


@pytest.fixture(scope="module", params=KINDS)
def index(request: pytest.FixtureRequest) -> FaissIndex:
    """Of each kind, of 400."""
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
def test_a_flat_index_finds_what_looking_at_all_finds(
    count: int, asked: int, k: int, metric: Metric, seed: int, width: int
) -> None:
    known, questions = vectors(count, seed, width), vectors(asked, seed + 1, width)
    made = make_index(known, names(count), [None] * count, kind="flat", metric=metric)

    found = made.search(questions, k)

    distances = brute(known, questions, metric)
    for row, each in zip(distances, found, strict=True):
        assert len(each.places) == len(set(each.places)) == min(k, count)
        np.testing.assert_allclose(each.distances, row[each.places], atol=2e-3)
        np.testing.assert_allclose(each.distances, np.sort(row)[: min(k, count)], atol=2e-3)
        assert (np.diff(each.distances) >= 0).all()


@settings(deadline=None, max_examples=15)
@given(kind=st.sampled_from(KINDS), metric=st.sampled_from(METRICS), seed=st.integers(0, 2**16))
def test_with_all_effort_every_kind_finds_nearly_all(kind: Kind, metric: Metric, seed: int) -> None:
    known = vectors(300, seed)
    made = make_index(known, names(300), [None] * 300, kind=kind, metric=metric)
    exact = make_index(known, names(300), [None] * 300, kind="flat", metric=metric)

    assert recall(made, exact, known[:50], made.most_effort) >= (1.0 if kind != "hnsw" else 0.98)


@settings(deadline=None, max_examples=15)
@given(kind=st.sampled_from(KINDS), metric=st.sampled_from(METRICS), seed=st.integers(0, 2**16))
def test_looking_at_all_every_kind_finds_all(kind: Kind, metric: Metric, seed: int) -> None:
    known, asked = vectors(300, seed), vectors(20, seed + 1)
    made = make_index(known, names(300), [None] * 300, kind=kind, metric=metric)
    exact = make_index(known, names(300), [None] * 300, kind="flat", metric=metric)

    for found, wanted in zip(made.search_all(asked, 7), exact.search(asked, 7), strict=True):
        assert found.places.tolist() == wanted.places.tolist()
        np.testing.assert_allclose(found.distances, wanted.distances, atol=1e-5)


@settings(deadline=None, max_examples=15)
@given(kind=st.sampled_from(KINDS), count=st.integers(2, 50), seed=st.integers(0, 2**16))
def test_what_is_asked_together_changes_nothing(kind: Kind, count: int, seed: int) -> None:
    made = index_of(200, kind)
    asked = vectors(count, seed)

    together = made.search(asked, 7)

    for each, row in zip(together, asked, strict=True):
        [alone] = made.search(row[None], 7)
        assert alone.places.tolist() == each.places.tolist()
        assert alone.distances.tobytes() == each.distances.tobytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("metric", METRICS)
def test_saved_and_opened_it_is_the_same_and_the_same_bytes(kind: Kind, metric: Metric, tmp_path: Path) -> None:
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
    grown = index_of(400, entries.kind).add(vectors(20, 77), [f"new {each}" for each in range(20)], ["new"] * 20)

    [prediction] = reply(vectors(20, 77)[3:4], grown, k=1)

    assert (prediction["ids"], prediction["pred"]) == (["new 3"], "new")
    assert len(grown.entries.ids) == 420
    with pytest.raises(BundleError, match="1 pictures would be in the index twice, the first is 'picture 7'"):
        grown.add(vectors(1), ["picture 7"], [None])


def test_the_least_effort_is_enough() -> None:
    made, exact = index_of(400, "ivf"), index_of(400)

    effort, reached = least_effort(made, exact, vectors(100))

    assert reached >= WANTED
    assert effort == 1 or recall(made, exact, vectors(100), effort // 2) < WANTED
    assert least_effort(exact, exact, vectors(10)) == (1, 1.0)


def test_a_prediction() -> None:
    made = make_index(np.eye(4), ["a", "b", "c", "d"], ["x", "y", "y", None], kind="flat", metric="l2")

    [prediction] = reply(np.array([[1, 0.5, 0.25, 0]], "f4"), made, k=3)

    assert prediction == {
        "pred": "y",
        "dist": [0.559017, 1.145644, 1.346291],
        "ids": ["a", "b", "c"],
        "labels": ["x", "y", "y"],
    }
    assert json.loads(json.dumps([prediction], allow_nan=False)) == [prediction]


def test_half_precision_and_other_outputs_beside_the_embedding() -> None:
    made = index_of(50)
    outputs = {"map": np.zeros((2, 3, 4), "f4"), "count": np.zeros((2, 3), "i8"), "embedding": vectors(2).astype("f2")}

    assert len(reply_to(Request(outputs=outputs, index=made))) == 2


def test_k_is_five_and_at_most_what_there_is(index: FaissIndex) -> None:
    assert all(0 < len(each["ids"]) <= 400 for each in reply(vectors(2), index, k=1000))
    assert all(len(each["ids"]) == 5 for each in reply(vectors(3), index_of(30)))
    assert all(len(each["ids"]) == 2 for each in reply(vectors(3), index_of(2)))


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "c", None]), max_size=9))
def test_the_vote_is_the_most_frequent_label_the_nearest_first(labels: list[str | None]) -> None:
    counts = Counter(label for label in labels if label is not None)

    voted = vote(labels)

    if voted is None:
        assert not counts
    else:
        assert counts[voted] == max(counts.values())
        tied = [label for label in counts if counts[label] == counts[voted]]
        assert min(tied, key=labels.index) == voted


PARAMETERS: dict[str, tuple[Kind, dict[str, Any], str]] = {
    "no neighbour": ("flat", {"k": 0}, "parameter k is '0'; allowed: a whole number from 1 to 1000"),
    "k is text": ("flat", {"k": "3"}, "parameter k is '3'"),
    "k is a bool": ("flat", {"k": True}, "parameter k is 'True'"),
    "k is null": ("flat", {"k": None}, "parameter k is 'None'"),
    "k is a fraction": ("flat", {"k": 2.5}, "parameter k is '2.5'"),
    "too many": ("flat", {"k": 1001}, "from 1 to 1000"),
    "another task's": ("flat", {"top": 3}, "unknown parameters top; allowed: efSearch, k, nprobe, timings"),
    "nprobe of a flat one": ("flat", {"nprobe": 3}, "nprobe is not for this bundle's index, which is flat"),
    "nprobe of hnsw": ("hnsw", {"nprobe": 3}, "which is hnsw and takes efSearch"),
    "efSearch of ivf": ("ivf", {"efSearch": 3}, "which is ivf and takes nprobe"),
    "no list": ("ivf", {"nprobe": 0}, "parameter nprobe is '0'; allowed: a whole number from 1 to 10"),
    "more lists than there are": ("ivf", {"nprobe": 11}, "from 1 to 10"),
    "efSearch without end": ("hnsw", {"efSearch": 10**9}, "from 1 to 1024"),
}


@pytest.mark.parametrize("case", PARAMETERS)
def test_a_wrong_parameter_is_the_client_s_fault(case: str) -> None:
    kind, parameters, message = PARAMETERS[case]

    with pytest.raises(RequestError) as caught:
        reply(vectors(1), index_of(400, kind), **parameters)

    assert message in str(caught.value)
    assert caught.value.status == 400


def test_effort_may_be_asked_for() -> None:
    ivf, exact = index_of(400, "ivf"), index_of(400)
    asked = vectors(20, 9)

    assert reply(asked, ivf, nprobe=10, k=9) == reply(asked, exact, k=9)
    assert reply(asked, ivf, nprobe=1, k=300) != reply(asked, exact, k=300)
    assert len(reply(asked, index_of(400, "hnsw"), efSearch=64)) == 20


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_embedding_that_is_no_number_is_the_model_s_fault(value: float) -> None:
    embedding = vectors(3)
    embedding[1, 2] = value

    with pytest.raises(ShardlineError, match="NaN or infinity for instance 1"):
        reply(embedding, index_of(9))


def test_without_an_embedding_or_an_index() -> None:
    with pytest.raises(BundleError, match=r"outputs are map float32\[1, 2, 2\]; retrieve needs float \[batch, width\]"):
        reply_to(Request(outputs={"map": np.zeros((1, 2, 2), "f4")}, index=index_of(9)))
    with pytest.raises(BundleError, match="shardline index build"):
        reply(vectors(1), None)


def test_a_vector_of_zeros_is_like_none() -> None:
    [prediction] = reply(np.zeros((1, WIDTH), "f4"), index_of(9), k=9)

    assert prediction["dist"] == [1.0] * 9


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

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"kind": "pq"}, "kind and metric"),
            ({"metric": "dot"}, "kind and metric"),
            ({"width": "16"}, "whole numbers"),
            ({"effort": True}, "whole numbers"),
            ({"effort": -1}, "whole numbers"),
            ({"ids": None}, "ids must be a list of texts"),
            ({"ids": [3]}, "ids must be a list of texts"),
            ({"labels": "abc"}, "labels must be"),
            ({"labels": [3]}, "labels must be"),
            ({"ids": [], "labels": []}, "at least one"),
            ({"ids": ["a"]}, "1 ids and 100 labels"),
            ({"more": 1}, "must be an object with"),
        ],
    )
    def test_entries_that_are_none(self, folder: Path, change: dict[str, Any], message: str) -> None:
        self.alter(folder, **change)

        with pytest.raises(BundleError, match=message):
            open_index(folder, WIDTH)

    @pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "\N{BOM}{}"])
    def test_entries_that_are_no_json(self, text: str) -> None:
        with pytest.raises(BundleError, match="build the index again"):
            parse_entries(text.encode())

    def alter(self, folder: Path, **change: Any) -> None:
        document = json.loads((folder / ENTRIES_FILE).read_text())
        (folder / ENTRIES_FILE).write_text(json.dumps(document | change))


@given(st.lists(st.tuples(st.text(), st.none() | st.text()), min_size=1, max_size=5))
def test_entries_come_back(rows: list[tuple[str, str | None]]) -> None:
    entries = Entries(
        kind="ivf",
        metric="l2",
        width=3,
        effort=4,
        ids=tuple(row[0] for row in rows),
        labels=tuple(row[1] for row in rows),
    )

    assert parse_entries(entries.to_json()) == entries


def test_the_task_is_registered_and_compares_embeddings() -> None:
    code = task_code("retrieve")
    outputs = {"embedding": vectors(2)}

    assert (code.labels, code.answers(outputs), code.comparable(outputs)) == ((), None, outputs)
    assert code.open_index is open_index
