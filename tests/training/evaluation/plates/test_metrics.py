"""Report of a plate evaluation as JSON, and calibration by scores of predicted plates."""

import json

import pytest
from services.knowing_detector import Knowing, plate, reply

from shardline.tasks.plates.grammar import built_in
from shardline.training.evaluation.metrics import Calibration
from shardline.training.evaluation.plates.evaluate import evaluate
from shardline.training.evaluation.plates.pictures import PlatePicture
from shardline.training.evaluation.plates.readings import JudgedPicture, judge, scored_predictions

CLASSES = built_in().classes


def test_the_report_is_json(drawn: list[PlatePicture]) -> None:
    report, _ = evaluate(drawn[:2], [Knowing(drawn)], 0.7)
    document = json.loads(json.dumps(report.to_dict()))

    assert document["sides"][0]["readings"]["all"]["share"] == 1
    assert len(document["sides"][0]["boxes"]["classes"]) == len(CLASSES)


def add(calibration: Calibration, judged: JudgedPicture) -> None:
    for score, right in scored_predictions(judged):
        calibration.add(score, right=right)


def test_calibration_by_hand() -> None:
    """Two at 0.95, one of them right: 0.45 off. Three at 0.55, of which two are right: 0.55 and 2/3 are 0.117 apart."""
    calibration = Calibration()
    for score, right in [(0.95, True), (0.95, False), (0.55, True), (0.55, True), (0.55, False)]:
        asked = PlatePicture(name="", picture=b"", size=(200, 100), plates=(plate(),))
        said = reply(plate(), score, **({} if right else {"main_text": "0000"}))
        add(calibration, judge(asked, [said]))
    figures = calibration.metrics()

    assert figures.count == 5
    assert figures.error == pytest.approx((2 * 0.45 + 3 * (2 / 3 - 0.55)) / 5)
    assert [each.count for each in figures.bins] == [0, 0, 0, 0, 0, 3, 0, 0, 0, 2]


def test_a_score_of_one_has_a_bin() -> None:
    calibration = Calibration()
    asked = PlatePicture(name="", picture=b"", size=(200, 100))
    add(calibration, judge(asked, [reply(plate(), 1.0)]))

    assert calibration.metrics().bins[-1].count == 1
    assert calibration.metrics().error == 1
    assert Calibration().metrics().error is None
