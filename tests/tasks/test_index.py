"""Entries of an index: written, parsed and refused; recall of searches."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from services.embeddings import index_of, names, vectors

from shardline.tasks.faiss_index import make_index
from shardline.tasks.index import (
    INDEX_KINDS,
    METRICS,
    WANTED_RECALL,
    Entries,
    IndexKind,
    Metric,
    least_effort,
    parse_entries,
    recall,
)
from shardline.wire.errors import BundleError


@settings(deadline=None, max_examples=15)
@given(kind=st.sampled_from(INDEX_KINDS), metric=st.sampled_from(METRICS), seed=st.integers(0, 2**16))
def test_with_all_effort_every_kind_finds_nearly_all(kind: IndexKind, metric: Metric, seed: int) -> None:
    known = vectors(300, seed)
    made = make_index(known, names(300), [None] * 300, kind=kind, metric=metric)
    exact = make_index(known, names(300), [None] * 300, kind="flat", metric=metric)

    assert recall(made, exact, known[:50], made.most_effort) >= (1.0 if kind != "hnsw" else 0.98)


def test_the_least_effort_is_enough() -> None:
    made, exact = index_of(400, "ivf"), index_of(400)

    effort, reached = least_effort(made, exact, vectors(100))

    assert reached >= WANTED_RECALL
    assert effort == 1 or recall(made, exact, vectors(100), effort // 2) < WANTED_RECALL
    assert least_effort(exact, exact, vectors(10)) == (1, 1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "pq"}, "kind is 'pq', not one of flat, ivf, hnsw"),
        ({"metric": "dot"}, "metric is 'dot', not one of l2, cosine"),
        ({"width": "16"}, "width is str, not int"),
        ({"effort": True}, "effort is bool, not int"),
        ({"effort": -1}, "whole numbers"),
        ({"ids": None}, "ids is NoneType, not list"),
        ({"ids": [3]}, r"ids\[0\] is int, not str"),
        ({"labels": "abc"}, "labels is str, not list"),
        ({"labels": [3]}, r"labels\[0\] is int, not str"),
        ({"ids": [], "labels": []}, "at least one"),
        ({"ids": ["a"]}, "1 ids and 100 labels"),
        ({"more": 1}, r"it has the unknown \['more'\]"),
    ],
)
def test_invalid_entries(change: dict[str, Any], message: str) -> None:
    document = json.loads(index_of(100, "ivf").entries.to_json()) | change

    with pytest.raises(BundleError, match=rf"index\.json is invalid .*{message}.*: build the index again"):
        parse_entries(json.dumps(document).encode())


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "\N{BOM}{}"])
def test_entries_that_are_not_json(text: str) -> None:
    with pytest.raises(BundleError, match="build the index again"):
        parse_entries(text.encode())


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
