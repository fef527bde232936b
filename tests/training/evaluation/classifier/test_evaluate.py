"""Evaluation of classifiers with known predictions."""

import json

import pytest
from services.knowing_classifier import ANIMALS, GivenPictures, GivenScores, scores_for

from shardline.training.evaluation.classifier.evaluate import evaluate
from shardline.training.evaluation.classifier.metrics import ClassifierReport
from shardline.training.evaluation.classifier.sources import ClassPrediction
from shardline.training.evaluation.plots import Thumbnail
from shardline.wire.errors import PictureError

FEW = GivenPictures(labels=("ant", "bee", "cat"), shown=(0, 0, 0, 0, 1, 1, 2))
# an ant is taken for a dog, which none of the pictures shows, a bee for an ant
ANSWERS = (0, 0, 0, 3, 1, 0, 2)


def answer_of(number: int) -> list[float]:
    return scores_for(ANSWERS[number], 0.5 + number / 100)


def report_of(*sources: GivenScores, samples: GivenPictures = FEW) -> tuple[ClassifierReport, list[Thumbnail]]:
    return evaluate(samples, sources)


def test_metrics_by_hand() -> None:
    counted: list[None] = []
    report, mistakes = evaluate(FEW, [GivenScores(answer_of)], advance=lambda: counted.append(None))
    side = report.sides[0]

    assert len(counted) == report.pictures == 7
    assert (side.top1.right, side.top1.count) == (5, 7)
    # of equal scores the first classes come first: the ant taken for a dog is second, the bee taken for an ant too
    assert side.top5 is not None
    assert side.top5.right == 7
    assert side.confusion == ((3, 0, 0, 1), (1, 1, 0, 0), (0, 0, 1, 0))
    ant, bee, cat = side.classes
    assert (ant.precision.right, ant.precision.count, ant.recall.count) == (3, 4, 4)
    assert (bee.precision.share, bee.recall.share) == (1, 0.5)
    assert bee.f1.value == pytest.approx(2 / 3)
    assert cat.f1.value == 1
    assert cat.curves is not None
    assert cat.curves.roc_auc == 1
    assert side.calibration.count == 7
    assert [each.title.splitlines()[:2] for each in mistakes] == [
        ["bee: 0.09", "→ ant: 0.55"],
        ["ant: 0.09", "→ dog: 0.53"],
    ]


def test_calibrated_scores_have_no_calibration_error() -> None:
    """Half of the predictions with a score of 0.5 are right."""
    samples = GivenPictures(labels=("ant", "bee"), shown=(0, 0, 1, 1))
    report, _ = report_of(GivenScores(lambda number: scores_for(number % 2, 0.5)), samples=samples)

    assert report.sides[0].top1.share == 0.5
    assert report.sides[0].calibration.error == 0


def test_five_classes_have_no_top_5() -> None:
    labels = ANIMALS[:5]
    side = report_of(GivenScores(lambda number: scores_for(ANSWERS[number])[:5], labels=labels))[0].sides[0]

    assert side.top5 is None


def test_pictures_of_one_class() -> None:
    report, _ = report_of(GivenScores(lambda _: scores_for(0)), samples=GivenPictures(labels=("ant",), shown=(0, 0)))
    side = report.sides[0]

    assert side.top1.share == 1
    assert (side.average_precision, side.roc_auc, side.classes[0].curves) == (None, None, None)


def test_differences_between_sources() -> None:
    def nudged(number: int) -> list[float]:
        return scores_for(2) if number == 0 else [score + (number == 1) / 8 for score in answer_of(number)]

    turned = GivenScores(lambda number: answer_of(number)[::-1], labels=ANIMALS[::-1], name="turned")
    report, _ = report_of(
        GivenScores(answer_of, outputs=True),
        GivenScores(answer_of, outputs=True, name="same"),
        GivenScores(nudged, name="other"),
        turned,
    )
    same, other, by_label = report.differences

    assert (same.equal, same.max_abs_difference, same.same, same.others) == (7, 0, 7, ())
    assert (other.equal, other.same, other.others) == (5, 6, ("0.png",))
    assert other.max_abs_difference == pytest.approx(0.4)
    assert by_label.same == 7  # classes are compared by their labels
    assert report.sides[3].confusion == report.sides[0].confusion


def test_the_report_is_json_in_words_of_pictures() -> None:
    report, _ = report_of(GivenScores(answer_of), GivenScores(answer_of, name="again"))
    document = json.loads(json.dumps(report.to_dict()))

    assert document["labels"] == ["ant", "bee", "cat"]
    assert document["sides"][0]["top1"]["pictures"] == 7
    assert document["differences"][0]["same_class"] == 7
    assert len(document["grid"]) == len(document["sides"][0]["classes"][0]["curves"]["roc"])


def test_a_picture_that_cannot_be_read_is_named() -> None:
    class Refusing(GivenScores):
        def predict(self, picture: bytes) -> ClassPrediction:
            raise PictureError(f"not a picture: {picture[:0]!r}")

    with pytest.raises(PictureError, match=r"0\.png: not a picture"):
        report_of(Refusing(answer_of))
