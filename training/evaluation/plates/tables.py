"""What was found of plates, as tables."""

from collections.abc import Iterator

from shardline.training.evaluation.plates.evaluate import Report, Side
from shardline.training.evaluation.plates.readings import ReadingFigures
from shardline.training.evaluation.tables import Row, Table, differences, number, percent

# of plates read fully right on drawn pictures, by their width in the network's input: what a release must reach
WANTED = {"64–96 px": 0.92, "96–128 px": 0.99, "128 px and more": 0.99}
_GROUPS = {"type": "type", "width": "width in the input", "blur": "blur", "smear": "smear", "angle": "rotation"}


def tables(report: Report) -> Iterator[Table | str]:
    """Tables and lines, in the order in which they are read."""
    yield _sides(report)
    side = report.sides[0]
    if side.boxes is not None:
        yield _classes(side, report.threshold)
    yield _readings(side.readings)
    yield from differences(report.differences, side.name, "plates")
    if side.plain is not None and side.plain.pictures_with_false:
        yield f"false plates in {', '.join(side.plain.pictures_with_false)}"


def _sides(report: Report) -> Table:
    """A column for each side."""
    rows = {
        "mAP@0.5": [number(side.boxes.map50 if side.boxes else None) for side in report.sides],
        "mAP@0.5:0.95": [number(side.boxes.map if side.boxes else None) for side in report.sides],
        "plates that can be read": [str(side.readings.all.count) for side in report.sides],
        "read fully right": [" (95 %: ".join(percent(side.readings.all)) + ")" for side in report.sides],
        "false plates": [str(side.readings.false_plates) for side in report.sides],
        "passes a picture": [number(side.passes, 2) for side in report.sides],
        "calibration error of scores": [number(side.calibration.error, 3) for side in report.sides],
    }
    plain = [side.plain for side in report.sides if side.plain is not None]
    if plain:
        rows[f"false plates in {plain[0].pictures} photographs"] = [str(each.false_plates) for each in plain]
    return Table(
        title=f"{report.pictures} pictures, threshold {report.threshold:g}",
        columns=("", *(side.name for side in report.sides)),
        groups=(tuple((name, *values) for name, values in rows.items()),),
    )


def _classes(side: Side, threshold: float) -> Table:
    rows = tuple(
        (each.label, str(each.things), *map(number, (each.precision, each.recall, each.ap50, each.ap)))
        for each in (side.boxes.classes if side.boxes else ())
    )
    return Table(
        title=f"classes, {side.name}; at IoU 0.5",
        columns=("class", "things", f"precision at {threshold:g}", "recall", "AP", "AP 0.5:0.95"),
        groups=(rows,),
    )


def _readings(readings: ReadingFigures) -> Table:
    outcomes = ", ".join(f"{count} {name}" for name, count in readings.outcomes.items() if count)
    return Table(
        title=f"plates read fully right: {outcomes or 'none was asked for'}",
        columns=("", "plates", "right", "95 %", "wanted"),
        groups=tuple(tuple(_rows(readings, name)) for name in _GROUPS),
    )


def _rows(readings: ReadingFigures, group: str) -> Iterator[Row]:
    for share in readings.by[group]:
        wanted = f"{100 * WANTED[share.name]:.0f} %" if group == "width" and share.name in WANTED else ""
        yield f"{_GROUPS[group]} {share.name}", str(share.count), *percent(share), wanted
