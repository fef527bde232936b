"""Average precision by hand and as COCO's evaluator gives it for all pictures at once; confusion of characters."""

import io
from contextlib import redirect_stdout
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from services.knowing_detector import outputs, thing

from shardline.tasks.plates.grammar import built_in
from shardline.training.evaluation.coco import AveragePrecision, BoxClassMetrics, ScoredBoxes, TrueObject
from shardline.training.evaluation.plates.boxes import CharacterConfusion, scored_boxes
from shardline.wire.view import View

CLASSES = built_in().classes
CHARACTERS = built_in().characters

THREE = CLASSES.index("3")
VIEW = View(width=200, height=100)
NONE = len(CHARACTERS)


def found(*scored: tuple[TrueObject, float]) -> ScoredBoxes:
    return ScoredBoxes(
        labels=np.array([each.label for each, _ in scored], np.int64),
        scores=np.array([score for _, score in scored], np.float64),
        boxes=np.array([each.box for each, _ in scored], np.float64).reshape(-1, 4),
    )


def figures(precision: AveragePrecision, label: str = "3", threshold: float = 0.7) -> BoxClassMetrics:
    return precision.metrics(threshold)[CLASSES.index(label)]


def test_by_hand() -> None:
    """Three of five threes are found, at 0.9, 0.75 and 0.6; at 0.8 there is a false positive.

    AveragePrecision is 1 up to a recall of 1/4, then 3/4 up to 3/4: of 101 recalls 26 have 1 and 50 have 3/4.
    """
    here, there, far, lost = thing("3", 0, 0), thing("3", 20, 0), thing("3", 40, 0), thing("3", 60, 0)
    precision = AveragePrecision(CLASSES)
    precision.add([here, there], found((here, 0.9), (thing("3", 0, 50), 0.8)))
    precision.add([far, lost], found((far, 0.6)))
    precision.add([], found())
    precision.add([thing("3", 0, 0)], found((thing("3", 0, 0), 0.75)))
    precision.add([thing("4", 0, 0)], found())
    three, four, five = (figures(precision, label) for label in "345")

    assert three.things == 5
    assert three.precision == pytest.approx(2 / 3)
    assert three.recall == pytest.approx(2 / 5)
    # recalls 0 to 0.2: 21 of 1; 0.21 to 0.6: 40 of 3/4
    assert three.ap50 == pytest.approx((21 * 1 + 40 * 0.75) / 101)
    assert three.ap == pytest.approx(three.ap50)
    assert (four.things, four.precision, four.recall, four.ap50) == (1, None, 0, 0)
    assert (five.things, five.precision, five.recall, five.ap50, five.curve) == (0, None, None, None, None)


def test_crowd_objects_are_neither_expected_nor_wrong() -> None:
    covered, seen = thing("3", 0, 0, crowd=True), thing("3", 40, 0)
    precision = AveragePrecision(CLASSES)
    precision.add([covered, seen], found((covered, 0.99), (seen, 0.8)))
    precision.add([covered], found())

    assert figures(precision).things == 1
    assert figures(precision).ap50 == pytest.approx(1)
    assert figures(precision).precision == 1


def test_a_shifted_box_counts_at_the_lower_overlaps() -> None:
    """Shifted by 2 of 10 pixels, IoU is 8/12: right at 0.5, 0.55, 0.6 and 0.65 of the ten."""
    precision = AveragePrecision(CLASSES)
    precision.add([thing("3", 0, 0)], found((thing("3", 2, 0), 0.9)))

    assert figures(precision).ap50 == pytest.approx(1)
    assert figures(precision).ap == pytest.approx(0.4)


boxes = st.builds(
    thing,
    st.sampled_from(["3", "a", "r_board"]),
    st.integers(0, 30),
    st.integers(0, 10),
    st.integers(5, 12),
    crowd=st.booleans(),
)
pictures = st.lists(
    st.tuples(st.lists(boxes, max_size=5), st.lists(st.tuples(boxes, st.floats(0.01, 1)), max_size=6)), max_size=4
)


@settings(max_examples=60, deadline=None)
@given(pictures)
def test_one_picture_at_a_time_equals_all_at_once(
    drawn: list[tuple[list[TrueObject], list[tuple[TrueObject, float]]]],
) -> None:
    precision = AveragePrecision(CLASSES)
    for true, scored in drawn:
        precision.add(true, found(*scored))
    expected = at_once(drawn)

    for label, each in zip(("3", "a", "r_board"), expected, strict=True):
        assert figures(precision, label).ap == (None if each[0, 0] == -1 else pytest.approx(each.mean()))
        assert figures(precision, label).ap50 == (None if each[0, 0] == -1 else pytest.approx(each[0].mean()))


def at_once(drawn: list[tuple[list[TrueObject], list[tuple[TrueObject, float]]]]) -> list[Any]:
    """COCO's evaluator as its authors use it: precision [IoUs, recalls] of three classes."""

    def index(annotations: list[dict[str, Any]]) -> COCO:
        made = COCO()
        made.dataset = {
            "images": [{"id": number} for number in range(len(drawn))],
            "categories": [{"id": number} for number in range(len(CLASSES))],
            "annotations": [{**each, "id": number} for number, each in enumerate(annotations, 1)],
        }
        made.createIndex()
        return made

    def annotation(image: int, each: TrueObject, **more: Any) -> dict[str, Any]:
        left, top, right, bottom = each.box
        box = [left, top, right - left, bottom - top]
        return {"image_id": image, "category_id": each.label, "bbox": box, "area": box[2] * box[3], **more}

    true = [
        annotation(number, each, iscrowd=int(each.crowd)) for number, (things, _) in enumerate(drawn) for each in things
    ]
    said = [
        annotation(number, each, iscrowd=0, score=score)
        for number, (_, scored) in enumerate(drawn)
        for each, score in scored
    ]
    with redirect_stdout(io.StringIO()):
        evaluator = COCOeval(index(true), index(said), "bbox")
        evaluator.params.catIds = [CLASSES.index(label) for label in ("3", "a", "r_board")]
        if not drawn:
            return [-np.ones((10, 101))] * 3
        evaluator.evaluate()
        evaluator.accumulate()
    order = np.argsort(np.argsort([CLASSES.index(label) for label in ("3", "a", "r_board")]))
    return [evaluator.eval["precision"][:, :, number, 0, -1] for number in order]


def test_confusion_of_characters() -> None:
    true = [
        thing("0", 0, 0),
        thing("8", 20, 0),
        thing("b", 40, 0),
        thing("1", 60, 0, crowd=True),
        thing("r_board", 0, 0),
    ]
    found = [
        (thing("0", 0, 0), 0.9),
        (thing("3", 20, 0), 0.8),
        (thing("7", 60, 0), 0.9),  # on an object that is ignored
        (thing("5", 100, 50), 0.75),  # where nothing is
        (thing("b", 40, 0), 0.6),  # not sure enough
    ]
    confusion = CharacterConfusion()
    confusion.add(true, scored_boxes(outputs(found, VIEW), VIEW), 0.7)

    expected = np.zeros((NONE + 1, NONE + 1), int)
    for drawn, said in [("0", "0"), ("8", "3"), ("B", None), (None, "5")]:
        row, column = (NONE if each is None else CHARACTERS.index(each) for each in (drawn, said))
        expected[row, column] = 1
    assert confusion.counts.tolist() == expected.tolist()


def test_the_highest_score_counts_at_each_position() -> None:
    made = outputs([(thing("0", 0, 0), 0.8)], VIEW)
    made["character_scores"][0, 0, 8] = 0.9
    confusion = CharacterConfusion()
    confusion.add([thing("0", 0, 0)], scored_boxes(made, VIEW), 0.7)

    assert confusion.counts.sum() == 1
    assert confusion.counts[0, 8] == 1


def test_boxes_are_in_pixels_of_the_picture_and_cut_to_it() -> None:
    letterboxed = View(width=400, height=200, left=0, top=-100, across=2, down=2)
    made = outputs([], letterboxed)
    made["board_boxes"][0, 0] = (-10, 60, 40, 80)
    made["board_scores"][0, 0] = (0.9, 0.3)
    found = scored_boxes(made, letterboxed)

    assert found.labels.tolist() == [0, 1]
    assert found.boxes.tolist() == [[0, 20, 80, 60]] * 2
    assert found.scores.tolist() == pytest.approx([0.9, 0.3])
