"""Neighbours as a classifier: shares of their labels, ties, labels that are missing or none of the data's; recall."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardline.tasks.retrieve import vote
from shardline.training.evaluation.classifier.evaluate import evaluate
from shardline.training.evaluation.classifier.neighbours import NOTHING, Recall, RetrievalReport, read_votes
from shardline.training.evaluation.classifier.sample import Sample
from shardline.training.evaluation.classifier.sources import Seen
from shardline.training.evaluation.share import Share
from shardline.training.evaluation.tables import Table

CLASSES = ("ant", "bee", "cat")
Labels = Sequence[str | None]


def said(*labels: str | None) -> tuple[list[str], dict[str, float]]:
    """The labels in the order in which they are said, and the scores of all."""
    seen = read_votes(vote(labels), labels, CLASSES)
    return [seen.labels[place] for place in seen.order], dict(zip(seen.labels, seen.scores.tolist(), strict=True))


def test_a_score_is_the_share_of_the_neighbours() -> None:
    order, scores = said("bee", "ant", "bee", "bee")

    assert order == ["bee", "ant"]
    assert scores == {"ant": 0.25, "bee": 0.75, "cat": 0, NOTHING: 0}


def test_of_equally_many_the_nearest_is_said() -> None:
    assert said("cat", "ant", "ant", "cat")[0] == ["cat", "ant"]


def test_labels_that_are_none_of_the_data_s() -> None:
    """The first of them has a name and a score; those behind keep their places in the order."""
    assert said("yak", "emu", "emu", "yak", "ant") == (
        ["yak", "yak", "ant"],
        {"ant": 0.2, "bee": 0, "cat": 0, "yak": 0.4},
    )
    assert said("ant", "emu", "ant")[1] == {
        "ant": pytest.approx(2 / 3),
        "bee": 0,
        "cat": 0,
        "emu": pytest.approx(1 / 3),
    }


def test_neighbours_without_a_label_vote_for_nothing_and_are_neighbours() -> None:
    assert said(None, None, "bee", None) == (["bee"], {"ant": 0, "bee": 0.25, "cat": 0, NOTHING: 0})
    assert said(None, None) == said() == ([NOTHING], {"ant": 0, "bee": 0, "cat": 0, NOTHING: 0})


@settings(deadline=None)
@given(st.lists(st.sampled_from([*CLASSES, "yak", "emu", None]), max_size=9))
def test_what_is_said_first_is_the_vote(labels: list[str | None]) -> None:
    order, scores = said(*labels)

    assert order[0] == (vote(labels) or NOTHING)
    assert all(scores[label] == labels.count(label) / len(labels) for label in scores if label in labels)
    assert len(scores) == len(CLASSES) + 1


@dataclass(frozen=True)
class Shown:
    """Pictures that need not be looked at: their bytes are their numbers."""

    labels: tuple[str, ...]
    shown: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.shown)

    def __iter__(self) -> Iterator[Sample]:
        return iter(
            [Sample(name=str(at), picture=str(at).encode(), label=label) for at, label in enumerate(self.shown)]
        )


@dataclass(frozen=True)
class Near:
    """Has these labels near each picture."""

    near: Mapping[int, Labels]
    name: str = "it"
    found: Recall = field(default_factory=lambda: Recall("recall@4"))

    def look(self, picture: bytes) -> Seen:
        labels = self.near[int(picture)]
        return read_votes(vote(labels), labels, CLASSES)


NEAR: Mapping[int, Labels] = {
    0: ("ant", "ant", "bee", "ant"),  # right
    1: ("bee", "bee", "ant", "yak"),  # taken for a bee
    2: ("yak", "yak", "yak", "bee"),  # for what the data have not
    3: (None, None, None, None),
}
ASKED = Shown(labels=CLASSES, shown=(0, 0, 1, 2))


def test_the_votes_are_counted_as_a_classifier_s_answers() -> None:
    side = evaluate(ASKED, [Near(NEAR)], most_mistakes=0)[0].sides[0]

    assert (side.top1.right, side.top1.count) == (1, 4)
    assert side.confusion == ((1, 1, 0, 0), (0, 0, 0, 1), (0, 0, 0, 1))
    assert side.calibration.count == 4
    assert side.top5 is None


def test_a_class_that_no_neighbour_has_is_not_among_the_first_five() -> None:
    labels = tuple("abcdef")
    near = [("a", "b", "a"), ("c", "c", "b")]  # of a, and of b, whose pictures are both found, and f
    asked = Shown(labels=labels, shown=(0, 1, 2, 3, 4, 5))

    class Letters(Near):
        def look(self, picture: bytes) -> Seen:
            labels_near = near[int(picture) % 2]
            return read_votes(vote(labels_near), labels_near, labels)

    side = evaluate(asked, [Letters(NEAR)], most_mistakes=0)[0].sides[0]

    assert side.top5 is not None
    # a and c and e have a and b near them, b, d and f have c and b
    assert (side.top1.right, side.top5.right) == (1, 2)


def test_recall_counts_what_is_nearest_and_found() -> None:
    recall = Recall("recall@3")
    assert recall.figures().share is None
    recall.add(["a", "b", "x"], ["b", "a", "c"])
    recall.add(["d"], ["d", "e", "f"])

    found = recall.figures()
    assert (found.name, found.right, found.count, found.share) == ("recall@3", 3, 6, 0.5)
    assert found.low is not None
    assert found.low < 0.5


def report_of(*recalls: Share | None) -> RetrievalReport:
    sources = [Near(NEAR, name=f"number {number}") for number in range(len(recalls))]
    return RetrievalReport(k=4, votes=evaluate(ASKED, sources, most_mistakes=0)[0], recalls=recalls)


def test_the_report_is_that_of_a_classifier_and_recall() -> None:
    recall = Recall("recall@4")
    recall.add(["a", "b", "c", "x"], ["a", "b", "c", "d"])
    report = report_of(recall.figures(), None)
    written = json.loads(json.dumps(report.to_dict()))
    votes = report.votes.to_dict()

    assert (written["k"], written["pictures"]) == (4, 4)
    assert written["sides"][0]["recall"] | {"low": 0, "high": 0} == {
        "name": "recall@4", "neighbours": 4, "found": 3, "share": 0.75, "low": 0, "high": 0,
    }  # fmt: skip
    assert written["sides"][1]["recall"] is None
    assert {name: value for name, value in written["sides"][0].items() if name != "recall"} == json.loads(
        json.dumps(votes["sides"][0])
    )


def test_recall_as_a_table_and_a_remark_where_nobody_knows_it() -> None:
    recall = Recall("recall@4")
    recall.add(["a", "b"], ["a", "b"])
    table, remark = report_of(recall.figures(), None).tables()

    assert isinstance(table, Table)
    [[row]] = table.groups
    assert row[0] == "recall@4 (95 %)"
    assert row[1].startswith("100.0 % (")
    assert row[2] == "-"
    assert remark == "number 1 does not tell what is nearest; name its bundle by --against for recall@4"
    assert list(report_of(None).tables()) == [
        "number 0 does not tell what is nearest; name its bundle by --against for recall@4"
    ]


def test_scores_of_the_votes_are_float64() -> None:
    seen = read_votes("ant", ["ant"], CLASSES)

    assert (seen.scores.dtype, seen.order.dtype, seen.outputs) == (np.float64, np.int64, None)
