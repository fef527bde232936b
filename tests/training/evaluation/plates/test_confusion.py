"""Which character is taken for which, how sure, and which misses are kept."""

import io

import numpy as np
import pytest
from PIL import Image
from services.knowing_detector import outputs, plate, reply, thing

from shardline.training.evaluation.calibration import Calibration
from shardline.training.evaluation.plates.confusion import CHARACTERS, Confusion
from shardline.training.evaluation.plates.detections import detections
from shardline.training.evaluation.plates.misses import Miss, Misses
from shardline.training.evaluation.plates.readings import Judged, judge, scored
from shardline.training.evaluation.plates.sample import Sample
from shardline.training.evaluation.worst import Worst
from shardline.wire.view import View

VIEW = View(width=200, height=100)
NONE = len(CHARACTERS)


def test_which_is_taken_for_which() -> None:
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
        (thing("7", 60, 0), 0.9),  # on what cannot be told
        (thing("5", 100, 50), 0.75),  # where nothing is
        (thing("b", 40, 0), 0.6),  # not sure enough
    ]
    confusion = Confusion()
    confusion.add(true, detections(outputs(found, VIEW), VIEW), 0.7)

    expected = np.zeros((NONE + 1, NONE + 1), int)
    for drawn, said in [("0", "0"), ("8", "3"), ("B", None), (None, "5")]:
        row, column = (NONE if each is None else CHARACTERS.index(each) for each in (drawn, said))
        expected[row, column] = 1
    assert confusion.counts.tolist() == expected.tolist()


def test_at_one_place_the_best_class_counts() -> None:
    made = outputs([(thing("0", 0, 0), 0.8)], VIEW)
    made["character_scores"][0, 0, 8] = 0.9
    confusion = Confusion()
    confusion.add([thing("0", 0, 0)], detections(made, VIEW), 0.7)

    assert confusion.counts.sum() == 1
    assert confusion.counts[0, 8] == 1


def test_boxes_are_in_pixels_of_the_picture_and_cut_to_it() -> None:
    letterboxed = View(width=400, height=200, left=0, top=-100, across=2, down=2)
    made = outputs([], letterboxed)
    made["board_boxes"][0, 0] = (-10, 60, 40, 80)
    made["board_scores"][0, 0] = (0.9, 0.3)
    found = detections(made, letterboxed)

    assert found.labels.tolist() == [0, 1]
    assert found.boxes.tolist() == [[0, 20, 80, 60]] * 2
    assert found.scores.tolist() == pytest.approx([0.9, 0.3])


def add(calibration: Calibration, judged: Judged) -> None:
    for score, right in scored(judged):
        calibration.add(score, right=right)


def test_calibration_by_hand() -> None:
    """Two at 0.95, one of them right: 0.45 off. Three at 0.55, of which two are right: 0.55 and 2/3 are 0.117 apart."""
    calibration = Calibration()
    for score, right in [(0.95, True), (0.95, False), (0.55, True), (0.55, True), (0.55, False)]:
        asked = Sample(name="", picture=b"", size=(200, 100), plates=(plate(),))
        said = reply(plate(), score, **({} if right else {"main_text": "0000"}))
        add(calibration, judge(asked, [said]))
    figures = calibration.figures()

    assert figures.count == 5
    assert figures.error == pytest.approx((2 * 0.45 + 3 * (2 / 3 - 0.55)) / 5)
    assert [each.count for each in figures.bins] == [0, 0, 0, 0, 0, 3, 0, 0, 0, 2]


def test_a_score_of_one_has_a_bin() -> None:
    calibration = Calibration()
    asked = Sample(name="", picture=b"", size=(200, 100))
    add(calibration, judge(asked, [reply(plate(), 1.0)]))

    assert calibration.figures().bins[-1].count == 1
    assert calibration.figures().error == 1
    assert Calibration().figures().error is None


def test_the_widest_misses_are_kept() -> None:
    with io.BytesIO() as buffer:
        Image.new("RGB", (200, 100), "red").save(buffer, "PNG")
        picture = buffer.getvalue()
    worst: Worst[Miss] = Worst(most=3)
    misses = Misses(worst)
    for number, width in enumerate([50, 80, 20, 90, 60, 70]):
        asked = Sample(name=str(number), picture=picture, size=(200, 100), plates=(plate(width=width),))
        right = [reply(asked.plates[0])] if width == 70 else []
        misses.add(asked, judge(asked, [*right, reply(plate(left=110, width=10))]), scale=0.5)
    kept = worst.worst_first()

    assert [(each.width_px, each.sample, each.wanted, each.got) for each in kept] == [
        (45, "3", "long 12A 3456", "nothing"),
        (40, "1", "long 12A 3456", "nothing"),
        (30, "4", "long 12A 3456", "nothing"),
    ]
    assert max(kept[0].pixels.shape) == 480
