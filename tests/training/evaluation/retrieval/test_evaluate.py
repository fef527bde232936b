"""Evaluation of a retrieval: votes counted as predictions of a classifier, and the recall in the report."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from shardline.tasks.retrieve import vote
from shardline.training.evaluation.classifier.evaluate import evaluate
from shardline.training.evaluation.classifier.pictures import LabelledPicture
from shardline.training.evaluation.classifier.sources import ClassPrediction
from shardline.training.evaluation.metrics import Proportion
from shardline.training.evaluation.report import ReportTable
from shardline.training.evaluation.retrieval.evaluate import RetrievalReport
from shardline.training.evaluation.retrieval.sources import Recall, read_votes

CLASSES = ("ant", "bee", "cat")
Labels = Sequence[str | None]


@dataclass(frozen=True)
class NumberedPictures:
    """Pictures whose bytes are their numbers."""

    labels: tuple[str, ...]
    shown: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.shown)

    def __iter__(self) -> Iterator[LabelledPicture]:
        return iter(
            [
                LabelledPicture(name=str(at), picture=str(at).encode(), label=label)
                for at, label in enumerate(self.shown)
            ]
        )


@dataclass(frozen=True)
class GivenNeighbours:
    """A source with given labels of the neighbours of each picture."""

    near: Mapping[int, Labels]
    name: str = "it"
    found: Recall = field(default_factory=lambda: Recall("recall@4"))

    def predict(self, picture: bytes) -> ClassPrediction:
        labels = self.near[int(picture)]
        return read_votes(vote(labels), labels, CLASSES)


NEAR: Mapping[int, Labels] = {
    0: ("ant", "ant", "bee", "ant"),  # right
    1: ("bee", "bee", "ant", "yak"),  # taken for a bee
    2: ("yak", "yak", "yak", "bee"),  # for what the data have not
    3: (None, None, None, None),
}
ASKED = NumberedPictures(labels=CLASSES, shown=(0, 0, 1, 2))


def test_the_votes_are_counted_as_a_classifier_s_answers() -> None:
    side = evaluate(ASKED, [GivenNeighbours(NEAR)], most_mistakes=0)[0].sides[0]

    assert (side.top1.right, side.top1.count) == (1, 4)
    assert side.confusion == ((1, 1, 0, 0), (0, 0, 0, 1), (0, 0, 0, 1))
    assert side.calibration.count == 4
    assert side.top5 is None


def test_a_class_that_no_neighbour_has_is_not_among_the_first_five() -> None:
    labels = tuple("abcdef")
    near = [("a", "b", "a"), ("c", "c", "b")]  # of a, and of b, whose pictures are both found, and f
    asked = NumberedPictures(labels=labels, shown=(0, 1, 2, 3, 4, 5))

    class Letters(GivenNeighbours):
        def predict(self, picture: bytes) -> ClassPrediction:
            labels_near = near[int(picture) % 2]
            return read_votes(vote(labels_near), labels_near, labels)

    side = evaluate(asked, [Letters(NEAR)], most_mistakes=0)[0].sides[0]

    assert side.top5 is not None
    # a and c and e have a and b near them, b, d and f have c and b
    assert (side.top1.right, side.top5.right) == (1, 2)


def report_of(*recalls: Proportion | None) -> RetrievalReport:
    sources = [GivenNeighbours(NEAR, name=f"number {number}") for number in range(len(recalls))]
    return RetrievalReport(k=4, votes=evaluate(ASKED, sources, most_mistakes=0)[0], recalls=recalls)


def test_the_report_is_that_of_a_classifier_and_recall() -> None:
    recall = Recall("recall@4")
    recall.add(["a", "b", "c", "x"], ["a", "b", "c", "d"])
    report = report_of(recall.recall(), None)
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


def test_recall_is_a_table_and_where_unknown_a_remark() -> None:
    recall = Recall("recall@4")
    recall.add(["a", "b"], ["a", "b"])
    table, remark = report_of(recall.recall(), None).tables()

    assert isinstance(table, ReportTable)
    [[row]] = table.groups
    assert row[0] == "recall@4 (95 %)"
    assert row[1].startswith("100.0 % (")
    assert row[2] == "-"
    assert remark == "number 1 does not report the true nearest neighbours: name its bundle by --against for recall@4"
    assert list(report_of(None).tables()) == [
        "number 0 does not report the true nearest neighbours: name its bundle by --against for recall@4"
    ]
