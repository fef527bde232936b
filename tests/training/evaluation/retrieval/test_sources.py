"""Votes of neighbours as predictions: scores, ties, missing and foreign labels; recall."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardline.tasks.retrieve import vote
from shardline.training.evaluation.retrieval.sources import NO_LABEL, Recall, read_votes

CLASSES = ("ant", "bee", "cat")
Labels = Sequence[str | None]


def predicted(*labels: str | None) -> tuple[list[str], dict[str, float]]:
    """The predicted labels in their order, and the scores of all labels."""
    seen = read_votes(vote(labels), labels, CLASSES)
    return [seen.labels[place] for place in seen.order], dict(zip(seen.labels, seen.scores.tolist(), strict=True))


def test_a_score_is_the_share_of_the_neighbours() -> None:
    order, scores = predicted("bee", "ant", "bee", "bee")

    assert order == ["bee", "ant"]
    assert scores == {"ant": 0.25, "bee": 0.75, "cat": 0, NO_LABEL: 0}


def test_of_equal_counts_the_nearest_label_is_predicted() -> None:
    assert predicted("cat", "ant", "ant", "cat")[0] == ["cat", "ant"]


def test_labels_that_the_data_does_not_have() -> None:
    """Only the first of them has a name and a score; the others keep their positions in the order."""
    assert predicted("yak", "emu", "emu", "yak", "ant") == (
        ["yak", "yak", "ant"],
        {"ant": 0.2, "bee": 0, "cat": 0, "yak": 0.4},
    )
    assert predicted("ant", "emu", "ant")[1] == {
        "ant": pytest.approx(2 / 3),
        "bee": 0,
        "cat": 0,
        "emu": pytest.approx(1 / 3),
    }


def test_neighbours_without_a_label_count_among_the_k() -> None:
    assert predicted(None, None, "bee", None) == (["bee"], {"ant": 0, "bee": 0.25, "cat": 0, NO_LABEL: 0})
    assert predicted(None, None) == predicted() == ([NO_LABEL], {"ant": 0, "bee": 0, "cat": 0, NO_LABEL: 0})


@settings(deadline=None)
@given(st.lists(st.sampled_from([*CLASSES, "yak", "emu", None]), max_size=9))
def test_the_first_prediction_is_the_vote(labels: list[str | None]) -> None:
    order, scores = predicted(*labels)

    assert order[0] == (vote(labels) or NO_LABEL)
    assert all(scores[label] == labels.count(label) / len(labels) for label in scores if label in labels)
    assert len(scores) == len(CLASSES) + 1


def test_recall_counts_the_nearest_that_are_found() -> None:
    recall = Recall("recall@3")
    assert recall.recall().share is None
    recall.add(["a", "b", "x"], ["b", "a", "c"])
    recall.add(["d"], ["d", "e", "f"])

    found = recall.recall()
    assert (found.name, found.right, found.count, found.share) == ("recall@3", 3, 6, 0.5)
    assert found.low is not None
    assert found.low < 0.5


def test_scores_of_the_votes_are_float64() -> None:
    seen = read_votes("ant", ["ant"], CLASSES)

    assert (seen.scores.dtype.name, seen.order.dtype.name, seen.outputs) == ("float64", "int64", None)
