"""Validation scores count what is found, and calibration makes scores agree with how often they are right."""

import numpy as np
import pytest
import torch

from shardline.tasks.plates.grammar import built_in
from shardline.training.detector.model import OUTPUTS, PlateDetector
from shardline.training.detector.samples import DetectorSample
from shardline.training.detector.scores import DetectorScores, calibrate, object_boxes

BOX, SECOND = (100.0, 50.0, 80.0, 20.0), (300.0, 200.0, 30.0, 9.0)  # x, y, width, height


def object_row(kind: int, label: int, box: tuple[float, ...], plate: int = 0, known: float = 1) -> list[float]:
    return [kind, label, *box, 1, 0, plate, known, 1]


def sample(*rows: list[float]) -> DetectorSample:
    return DetectorSample(pixels=np.zeros((8, 8, 3), np.uint8), objects=np.array(rows, np.float32).reshape(-1, 11))


def outputs(board: tuple[float, ...] | None, character: int) -> list[np.ndarray]:
    """Outputs for one picture: at most one board, and seven characters of this class in its place."""
    arrays = {
        "board_boxes": np.zeros((1, 16, 4), np.float32),
        "board_scores": np.zeros((1, 16, len(built_in().boards)), np.float32),
        "character_boxes": np.zeros((1, 128, 4), np.float32),
        "character_scores": np.zeros((1, 128, len(built_in().characters)), np.float32),
    }
    if board:
        x, y, width, height = board
        arrays["board_boxes"][0, 0] = x - width / 2, y - height / 2, x + width / 2, y + height / 2
        arrays["board_scores"][0, 0, 0] = 0.9
        arrays["character_boxes"][0, 0] = arrays["board_boxes"][0, 0]
        arrays["character_scores"][0, 0, character] = 0.9
    return [arrays.get(name, np.zeros((1, 1), np.float32)) for name in OUTPUTS]


@pytest.mark.parametrize(
    ("board", "character", "scores"),
    [
        (BOX, 3, {"score": 1.0, "found": 1.0, "false": 0.0}),
        (BOX, 4, {"score": 0.0, "found": 1.0, "false": 0.0}),
        (SECOND, 3, {"score": 0.0, "found": 0.0, "false": 1.0}),
        (None, 3, {"score": 0.0, "found": 0.0, "false": 0.0}),
    ],
)
def test_scores(board: tuple[float, ...] | None, character: int, scores: dict[str, float]) -> None:
    counted = DetectorScores()
    counted.add(outputs(board, character), [sample(object_row(0, 0, BOX), object_row(2, 3, BOX))])

    assert counted.scores() == scores


def test_what_is_small_or_not_recognisable_is_not_expected() -> None:
    counted = DetectorScores()
    counted.add(outputs(None, 0), [sample(object_row(0, 0, SECOND), object_row(0, 0, BOX, plate=1, known=0))])

    assert counted.scores() == {"score": 0.0, "found": 0.0, "false": 0.0}


def test_boxes_of_objects() -> None:
    boxes = object_boxes(np.array([object_row(2, 1, BOX)], np.float32))

    assert boxes.tolist() == [[60, 40, 140, 60]]


def test_calibration_without_objects_changes_nothing() -> None:
    torch.manual_seed(0)
    model = PlateDetector().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}

    lines = calibrate(model, [(torch.randn(1, 3, 128, 128), [sample()])])

    assert lines == [(1.0, 0.0)] * 3
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
