"""All of it on drawn pictures, with a detector that knows the answers."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from services.knowing_detector import Knowing, Scored, all_plates, reply, sure

from shardline.tasks.plates.text import CLASSES
from shardline.training.evaluation.plates.evaluate import Side, evaluate
from shardline.training.evaluation.plates.readings import Prediction
from shardline.training.evaluation.plates.sample import Drawn, Plain, Sample, Stored
from shardline.training.plates.dataset import write_dataset
from shardline.training.plates.picture import PlateStream
from shardline.wire.errors import ModelError


def side(samples: list[Sample], *sources: Knowing) -> Side:
    return evaluate(samples, sources, 0.7)[0].sides[0]


def readable(samples: list[Sample]) -> int:
    return sum(plate.readable for sample in samples for plate in sample.plates)


def test_who_knows_all_gets_all(drawn: list[Sample]) -> None:
    counted: list[None] = []
    report, misses = evaluate(drawn, [Knowing(drawn)], 0.7, on_picture=lambda: counted.append(None))
    found = report.sides[0]

    assert readable(drawn) > 5
    assert found.boxes is not None
    assert found.boxes.map50 == pytest.approx(1)
    assert found.boxes.map == pytest.approx(1)
    assert all(each.precision in (1, None) and each.recall in (1, None) for each in found.boxes.classes)
    assert (found.readings.all.right, found.readings.all.count) == (readable(drawn), readable(drawn))
    assert found.readings.false_plates == 0
    assert misses == []
    assert len(counted) == len(drawn) == report.pictures
    off_diagonal = [n for row, counts in enumerate(found.boxes.confusion) for at, n in enumerate(counts) if at != row]
    assert sum(off_diagonal) == 0


def test_a_class_that_is_never_found(drawn: list[Sample]) -> None:
    seven = CLASSES.index("7")

    def without_sevens(sample: Sample) -> list[Scored]:
        return [each for each in sure(sample) if each[0].label != seven]

    found = side(drawn, Knowing(drawn, boxes=without_sevens)).boxes
    assert found is not None
    known = [each for each in found.classes if each.things]
    missed = next(each for each in known if each.label == "7")

    assert (missed.recall, missed.ap50, missed.precision) == (0, 0, None)
    assert found.map50 == pytest.approx((len(known) - 1) / len(known))


def test_all_sevens_are_read_as_ones(drawn: list[Sample]) -> None:
    def misread(sample: Sample) -> list[Prediction]:
        said = [(plate, plate.text.replace("7", "1").split()) for plate in sample.plates]
        return [reply(plate, sub_text=small, main_text=main) for plate, (small, main) in said]

    asked = [plate for sample in drawn for plate in sample.plates if plate.readable]
    with_seven = sum("7" in plate.text for plate in asked)
    report, misses = evaluate(drawn, [Knowing(drawn, says=misread)], 0.7)
    readings = report.sides[0].readings

    assert with_seven > 0
    assert readings.outcomes["misread"] == with_seven
    assert readings.all.right == len(asked) - with_seven
    assert len(misses) == with_seven
    assert [each.width_px for each in misses] == sorted((each.width_px for each in misses), reverse=True)


def test_side_by_side(drawn: list[Sample]) -> None:
    def nudged(sample: Sample) -> list[Scored]:
        return [(each, score - 0.25) for each, score in sure(sample)]

    def silent(sample: Sample) -> list[Prediction]:
        return [] if sample is drawn[1] else [reply(each) for each in sample.plates]

    sources = [
        Knowing(drawn, says=all_plates),
        Knowing(drawn, name="same", says=all_plates),
        Knowing(drawn, name="nudged", boxes=nudged, says=silent),
        Knowing(drawn, name="served", boxes=None),
    ]
    same, other, served = evaluate(drawn, sources, 0.7)[0].differences
    empty = sum(not sample.things or all(each.crowd for each in sample.things) for sample in drawn)

    assert drawn[1].plates
    assert (same.equal, same.max_abs_difference, same.same) == (len(drawn), 0, len(drawn))
    assert (other.equal, other.same, other.others) == (empty, len(drawn) - 1, ("1",))
    assert other.max_abs_difference == pytest.approx(0.25)
    assert (served.equal, served.max_abs_difference, served.same) == (None, None, len(drawn))


def test_a_served_chain_has_no_boxes(drawn: list[Sample]) -> None:
    found = side(drawn, Knowing(drawn, boxes=None))

    assert found.boxes is None
    assert found.readings.all.share == 1


def test_stored_pictures_give_what_drawn_ones_do(plates: PlateStream, drawn: list[Sample], tmp_path: Path) -> None:
    write_dataset(tmp_path / "set", ((number, plates.draw(number)) for number in range(len(drawn))), {})
    stored = Stored(tmp_path / "set")
    samples = list(stored)

    assert len(stored) == len(samples) == len(drawn)
    for one, other in zip(samples, drawn, strict=True):
        assert (one.size, one.blur_px) == (other.size, pytest.approx(other.blur_px, abs=0.01))
        assert [dataclasses.replace(each, box=()) for each in one.things] == [
            dataclasses.replace(each, box=()) for each in other.things
        ]
        assert [each.box for each in one.things] == [pytest.approx(each.box, abs=0.02) for each in other.things]
        assert [(each.kind, each.text, each.readable) for each in one.plates] == [
            (each.kind, each.text, each.readable) for each in other.plates
        ]
        for mine, drawn_one in zip(one.plates, other.plates, strict=True):
            assert np.array(mine.quad) == pytest.approx(np.array(drawn_one.quad), abs=0.01)
    assert evaluate(stored, [Knowing(samples)], 0.7)[0].sides[0].readings.all.share == 1


def test_drawing_does_not_depend_on_how_many(plates: PlateStream, drawn: list[Sample]) -> None:
    assert list(Drawn(plates=plates, count=2)) == drawn[:2]


def test_what_is_found_in_plain_photographs_is_false(drawn: list[Sample], tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path, sample in zip(paths, drawn, strict=False):
        path.write_bytes(sample.picture)
    plain = Plain(files=tuple(paths))
    count = sum(len(sample.plates) for sample in drawn[:3])
    report, misses = evaluate([], [Knowing(drawn)], 0.7, plain=plain)
    found = report.sides[0].plain

    assert count > 0
    assert found is not None
    assert (found.pictures, found.false_plates) == (3, count)
    assert set(found.pictures_with_false) <= {path.name for path in paths}
    assert {each.wanted for each in misses} == {"no plate"}


def test_the_report_is_json(drawn: list[Sample]) -> None:
    report, _ = evaluate(drawn[:2], [Knowing(drawn)], 0.7)
    document = json.loads(json.dumps(report.to_dict()))

    assert document["sides"][0]["readings"]["all"]["share"] == 1
    assert len(document["sides"][0]["boxes"]["classes"]) == len(CLASSES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "holds no annotations.json"),
        ("no JSON", "is not of the form"),
        ("[]", "is not of the form"),
        ('{"categories": [{"id": 1, "name": "cat"}], "images": [], "annotations": []}', "is not of the form"),
        ('{"categories": [], "images": [], "annotations": []}', "lists no pictures"),
    ],
)
def test_a_folder_of_something_else(content: str | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "annotations.json").write_text(content)
    with pytest.raises(ModelError, match=message):
        Stored(tmp_path)


def test_pictures_that_are_missing_or_not_described(tmp_path: Path) -> None:
    image = {"id": 1, "file_name": "a.png", "width": 8, "height": 8}
    document = {"categories": [], "images": [image], "annotations": []}
    (tmp_path / "annotations.json").write_text(json.dumps(document))
    with pytest.raises(ModelError, match=r"a\.png cannot be read"):
        list(Stored(tmp_path))
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(ModelError, match="KeyError: 'plates'"):
        list(Stored(tmp_path))
