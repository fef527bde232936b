"""Evaluation of detectors with known predictions, on drawn pictures."""

import io
from pathlib import Path

import pytest
from PIL import Image
from services.knowing_detector import Knowing, Scored, all_plates, plate, reply, sure

from shardline.tasks.plates.grammar import built_in
from shardline.training.evaluation.plates.evaluate import PlateMiss, add_misses, evaluate
from shardline.training.evaluation.plates.metrics import PlateMetrics
from shardline.training.evaluation.plates.pictures import PlainPhotographs, PlatePicture
from shardline.training.evaluation.plates.readings import RawPlate, judge
from shardline.training.evaluation.run import WorstCases

CLASSES = built_in().classes


def side(samples: list[PlatePicture], *sources: Knowing) -> PlateMetrics:
    return evaluate(samples, sources, 0.7)[0].sides[0]


def readable(samples: list[PlatePicture]) -> int:
    return sum(plate.readable for sample in samples for plate in sample.plates)


def test_a_perfect_detector_has_perfect_metrics(drawn: list[PlatePicture]) -> None:
    counted: list[None] = []
    report, misses = evaluate(drawn, [Knowing(drawn)], 0.7, advance=lambda: counted.append(None))
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


def test_a_class_that_is_never_found(drawn: list[PlatePicture]) -> None:
    seven = CLASSES.index("7")

    def without_sevens(sample: PlatePicture) -> list[Scored]:
        return [each for each in sure(sample) if each[0].label != seven]

    found = side(drawn, Knowing(drawn, boxes=without_sevens)).boxes
    assert found is not None
    known = [each for each in found.classes if each.things]
    missed = next(each for each in known if each.label == "7")

    assert (missed.recall, missed.ap50, missed.precision) == (0, 0, None)
    assert found.map50 == pytest.approx((len(known) - 1) / len(known))


def test_misread_sevens(drawn: list[PlatePicture]) -> None:
    def misread(sample: PlatePicture) -> list[RawPlate]:
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


def test_differences_between_sources(drawn: list[PlatePicture]) -> None:
    def nudged(sample: PlatePicture) -> list[Scored]:
        return [(each, score - 0.25) for each, score in sure(sample)]

    def silent(sample: PlatePicture) -> list[RawPlate]:
        return [] if sample is drawn[1] else [reply(each) for each in sample.plates]

    sources = [
        Knowing(drawn, says=all_plates),
        Knowing(drawn, name="same", says=all_plates),
        Knowing(drawn, name="nudged", boxes=nudged, says=silent),
        Knowing(drawn, name="served", boxes=None),
    ]
    same, other, served = evaluate(drawn, sources, 0.7)[0].differences
    empty = sum(not sample.objects or all(each.crowd for each in sample.objects) for sample in drawn)

    assert drawn[1].plates
    assert (same.equal, same.max_abs_difference, same.same) == (len(drawn), 0, len(drawn))
    assert (other.equal, other.same, other.others) == (empty, len(drawn) - 1, ("1",))
    assert other.max_abs_difference == pytest.approx(0.25)
    assert (served.equal, served.max_abs_difference, served.same) == (None, None, len(drawn))


def test_a_served_chain_has_no_boxes(drawn: list[PlatePicture]) -> None:
    found = side(drawn, Knowing(drawn, boxes=None))

    assert found.boxes is None
    assert found.readings.all.share == 1


def test_plates_in_plain_photographs_are_false_positives(drawn: list[PlatePicture], tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path, sample in zip(paths, drawn, strict=False):
        path.write_bytes(sample.picture)
    plain = PlainPhotographs(files=tuple(paths))
    count = sum(len(sample.plates) for sample in drawn[:3])
    report, misses = evaluate([], [Knowing(drawn)], 0.7, plain=plain)
    found = report.sides[0].plain

    assert count > 0
    assert found is not None
    assert (found.pictures, found.false_plates) == (3, count)
    assert set(found.pictures_with_false) <= {path.name for path in paths}
    assert {each.wanted for each in misses} == {"no plate"}


def test_the_widest_misses_are_kept() -> None:
    with io.BytesIO() as buffer:
        Image.new("RGB", (200, 100), "red").save(buffer, "PNG")
        picture = buffer.getvalue()
    worst: WorstCases[PlateMiss] = WorstCases(most=3)
    for number, width in enumerate([50, 80, 20, 90, 60, 70]):
        asked = PlatePicture(name=str(number), picture=picture, size=(200, 100), plates=(plate(width=width),))
        right = [reply(asked.plates[0])] if width == 70 else []
        add_misses(worst, asked, judge(asked, [*right, reply(plate(left=110, width=10))]), 0.5, built_in())
    kept = worst.worst_first()

    assert [(each.width_px, each.picture, each.wanted, each.found) for each in kept] == [
        (45, "3", "long 12A 3456", "nothing"),
        (40, "1", "long 12A 3456", "nothing"),
        (30, "4", "long 12A 3456", "nothing"),
    ]
    assert max(kept[0].pixels.shape) == 480
