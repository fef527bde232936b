"""Evaluation of a detector with known objects: metrics, mistakes, differences, and classes that are not the model's."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from services.colour_detector import drawn

from shardline.client.boxes import DetectedObject
from shardline.training.evaluation.detector.evaluate import evaluate
from shardline.training.evaluation.detector.pictures import AnnotatedPictures, open_pictures
from shardline.training.evaluation.detector.report import detector_page
from shardline.training.evaluation.detector.sources import DetectedPicture
from shardline.wire.errors import DatasetError

RED = (10.0, 20.0, 30.0, 60.0)


def detected(label: str, box: tuple[float, float, float, float], score: float) -> DetectedObject:
    return DetectedObject(label=label, index=0, score=score, box=box, reported={"label": label, "score": score})


@dataclass(frozen=True)
class GivenObjects:
    """A source that finds the same objects in every picture."""

    objects: tuple[DetectedObject, ...]
    labels: tuple[str, ...] = ()
    name: str = "it"

    def predict(self, picture: bytes) -> DetectedPicture:
        assert picture.startswith(b"\x89PNG")
        return DetectedPicture(objects=self.objects)


@pytest.fixture
def pictures(tmp_path: Path) -> AnnotatedPictures:
    """Two pictures of 100 x 80 pixels: one has a red and a green box, the other nothing."""
    for name, lines in {"one": "0 0.2 0.5 0.2 0.5\n1 0.7 0.5 0.4 0.5\n", "two": ""}.items():
        (tmp_path / f"{name}.png").write_bytes(drawn((100, 80), []))
        (tmp_path / f"{name}.txt").write_text(lines)
    (tmp_path / "classes.txt").write_text("red\ngreen\n")
    return open_pictures(tmp_path, None, None)


def test_metrics_by_hand(pictures: AnnotatedPictures) -> None:
    """The red box is found once rightly and once in the empty picture, the green one is missed."""
    counted: list[None] = []
    source = GivenObjects((detected("red", RED, 0.9), detected("blue", RED, 0.8)))

    report, mistakes = evaluate(pictures, [source], 0.5, advance=lambda: counted.append(None))

    red, green = report.sides[0].classes
    assert len(counted) == report.pictures == 2
    assert (red.things, red.precision, red.recall) == (1, 0.5, 1)
    assert red.ap == pytest.approx(1)
    assert (green.things, green.precision, green.recall, green.ap) == (1, None, 0, 0)
    assert report.sides[0].map == pytest.approx(0.5)
    assert report.sides[0].map50 == pytest.approx(0.5)
    assert [mistake.title.splitlines()[:2] for mistake in mistakes] == [
        ["nothing", "→ red, 0.90"],
        ["green", "→ missed"],
    ]
    assert (mistakes[0].found_outline is None, mistakes[1].true_outline is None) == (False, False)
    page = detector_page(report, mistakes, "here")
    assert (page.title, [plot.file for plot in page.plots]) == (
        "Evaluation of it",
        ["precision_recall.png", "mistakes.png"],
    )
    assert report.to_dict()["sides"][0]["classes"][0]["objects"] == 1


def test_sources_are_compared(pictures: AnnotatedPictures) -> None:
    first, other = GivenObjects((detected("red", RED, 0.9),)), GivenObjects((detected("red", RED, 0.8),), name="other")

    report, _ = evaluate(pictures, [first, first, other], 0.5)

    assert [(found.name, found.same) for found in report.differences] == [("it", 2), ("other", 0)]


def test_a_model_without_a_class_of_the_data_is_refused(pictures: AnnotatedPictures) -> None:
    with pytest.raises(DatasetError, match="2 classes of the data are none of it's, the first is 'red'"):
        evaluate(pictures, [GivenObjects((), labels=("cat", "dog"))], 0.5)


def test_a_chain_whose_objects_are_all_of_other_classes_is_refused(pictures: AnnotatedPictures) -> None:
    with pytest.raises(DatasetError, match="none of the objects found is of a class of the data, red, green"):
        evaluate(pictures, [GivenObjects((detected("cat", RED, 0.9),))], 0.5)
