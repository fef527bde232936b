"""What `shardline evaluate plates` found, as tables."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from training.evaluation.difference import Difference
    from training.evaluation.evaluate import Report, Side
    from training.evaluation.readings import ReadingFigures, Share

# of plates read fully right on drawn pictures, by their width in the network's input: what a release must reach
WANTED = {"64–96 px": 0.92, "96–128 px": 0.99, "128 px and more": 0.99}
_GROUPS = {"type": "type", "width": "width in the input", "blur": "blur", "smear": "smear", "angle": "rotation"}


def report_tables(report: "Report") -> Iterator[Table | str]:
    """Tables and lines, in the order in which they are read."""
    yield _sides(report)
    side = report.sides[0]
    if side.boxes is not None:
        yield _classes(side, report.threshold)
    yield _readings(side.readings)
    yield from (_difference(each, report.sides[0].name) for each in report.differences)
    if side.plain is not None and side.plain.pictures_with_false:
        yield f"false plates in {', '.join(side.plain.pictures_with_false)}"


def _table(title: str, left: str, *right: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(left)
    for column in right:
        table.add_column(column, justify="right")
    return table


def _sides(report: "Report") -> Table:
    """A column for each side."""
    rows = {
        "mAP@0.5": [_number(side.boxes.map50 if side.boxes else None) for side in report.sides],
        "mAP@0.5:0.95": [_number(side.boxes.map if side.boxes else None) for side in report.sides],
        "plates that can be read": [str(side.readings.all.plates) for side in report.sides],
        "read fully right": [" (95 %: ".join(_share(side.readings.all)) + ")" for side in report.sides],
        "false plates": [str(side.readings.false_plates) for side in report.sides],
        "passes a picture": [_number(side.passes, 2) for side in report.sides],
        "calibration error of scores": [_number(side.calibration.error, 3) for side in report.sides],
    }
    plain = [side.plain for side in report.sides if side.plain is not None]
    if plain:
        rows[f"false plates in {plain[0].pictures} photographs"] = [str(each.false_plates) for each in plain]
    title = f"{report.pictures} pictures, threshold {report.threshold:g}"
    table = _table(title, "", *(side.name for side in report.sides))
    for name, values in rows.items():
        table.add_row(name, *values)
    return table


def _classes(side: "Side", threshold: float) -> Table:
    table = _table(
        f"classes, {side.name}; at IoU 0.5", "class", "things", f"precision at {threshold:g}", "recall", "AP",
        "AP 0.5:0.95",
    )  # fmt: skip
    for each in side.boxes.classes if side.boxes else ():
        figures = (each.precision, each.recall, each.ap50, each.ap)
        table.add_row(each.label, str(each.things), *(_number(figure) for figure in figures))
    return table


def _readings(readings: "ReadingFigures") -> Table:
    outcomes = ", ".join(f"{count} {name}" for name, count in readings.outcomes.items() if count)
    table = _table(
        f"plates read fully right: {outcomes or 'none was asked for'}", "", "plates", "right", "95 %", "wanted"
    )
    for name, title in _GROUPS.items():
        table.add_section()
        for share in readings.by[name]:
            wanted = f"{100 * WANTED[share.name]:.0f} %" if name == "width" and share.name in WANTED else ""
            table.add_row(f"{title} {share.name}", str(share.plates), *_share(share), wanted)
    return table


def _share(share: "Share") -> tuple[str, str]:
    if share.share is None or share.low is None or share.high is None:
        return "-", "-"
    return f"{100 * share.share:.1f} %", f"{100 * share.low:.1f}–{100 * share.high:.1f}"


def _difference(found: "Difference", first: str) -> str:
    plates = f"the same plates in {found.same_plates} of {found.pictures} pictures"
    if found.max_abs_difference is None:
        return f"{found.name} and {first}: {plates}"
    return (
        f"{found.name} and {first}: {found.equal} of {found.pictures} pictures equal to the bit, "
        f"max abs difference {found.max_abs_difference:g}; {plates}"
    )


def _number(value: float | None, decimals: int = 4) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"
