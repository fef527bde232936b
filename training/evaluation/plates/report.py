"""Report of a plate evaluation: its tables and plots."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from shardline.training.evaluation.coco import RECALLS, BoxClassMetrics
from shardline.training.evaluation.metrics import CalibrationMetrics, Proportion
from shardline.training.evaluation.plates.metrics import BoxMetrics, PlateMetrics, PlateReport
from shardline.training.evaluation.plates.readings import ReadingMetrics
from shardline.training.evaluation.plots import (
    Estimate,
    Plot,
    PlotCurve,
    Thumbnail,
    contact_sheet,
    draw_curves,
    draw_estimates,
    draw_matrix,
    draw_reliability,
)
from shardline.training.evaluation.report import (
    ReportPage,
    ReportTable,
    Row,
    difference_lines,
    format_number,
    format_percent,
)

# proportions that a release must reach on drawn pictures, by the width of plates in the network's input
WANTED = {"64–96 px": 0.92, "96–128 px": 0.99, "128 px and more": 0.99}

_ROW_NAMES = {"type": "type", "width": "width in the input", "blur": "blur", "smear": "smear", "angle": "rotation"}
_PANEL_TITLES = {
    "width": "width in the network's input",
    "angle": "rotation",
    "type": "type",
    "blur": "blur of the picture (sigma)",
    "smear": "motion blur of the picture",
}


def plate_page(report: PlateReport, misses: Sequence[Thumbnail], data: str) -> ReportPage:
    """The page about a report; `data` is where the pictures come from."""
    return ReportPage(
        title=f"Evaluation of {report.sides[0].name}",
        lead=f"{report.pictures} pictures of {data}, threshold {report.threshold:g}.",
        tables=list(plate_tables(report)),
        plots=plate_plots(report, misses),
    )


def plate_tables(report: PlateReport) -> Iterator[ReportTable | str]:
    """Yield tables and remarks, in the order in which they are read."""
    yield _sources_table(report)
    side = report.sides[0]
    if side.boxes is not None:
        yield _classes_table(side.name, side.boxes, report.threshold)
    yield _readings_table(side.readings)
    yield from difference_lines(report.differences, side.name, "plates")
    if side.plain is not None and side.plain.pictures_with_false:
        yield f"false plates in {', '.join(side.plain.pictures_with_false)}"


def _sources_table(report: PlateReport) -> ReportTable:
    """A column for each source."""
    sides = report.sides
    rows = {
        "mAP@0.5": [format_number(side.boxes.map50 if side.boxes else None) for side in sides],
        "mAP@0.5:0.95": [format_number(side.boxes.map if side.boxes else None) for side in sides],
        "readable plates": [str(side.readings.all.count) for side in sides],
        "read fully right": [" (95 %: ".join(format_percent(side.readings.all)) + ")" for side in sides],
        "false plates": [str(side.readings.false_plates) for side in sides],
        "passes per picture": [format_number(side.passes, 2) for side in sides],
        "calibration error of scores": [format_number(side.calibration.error, 3) for side in sides],
        "calibration error of candidates": [format_number(side.candidate_calibration.error, 3) for side in sides],
        "calibration error of characters": [format_number(side.character_calibration.error, 3) for side in sides],
        "groups with a covered character": [_counts(side.readings.covered_groups) for side in sides],
    }
    plain = [side.plain for side in sides if side.plain is not None]
    if plain:
        rows[f"false plates in {plain[0].pictures} photographs"] = [str(found.false_plates) for found in plain]
    return ReportTable(
        title=f"{report.pictures} pictures, threshold {report.threshold:g}",
        columns=("", *(side.name for side in sides)),
        groups=(tuple((name, *values) for name, values in rows.items()),),
    )


def _counts(counted: Mapping[str, int]) -> str:
    """Such as "12 not read, 1 misread"."""
    return ", ".join(f"{count} {name}" for name, count in counted.items() if count) or "none"


def _classes_table(source: str, boxes: BoxMetrics, threshold: float) -> ReportTable:
    rows = tuple(
        (found.label, str(found.things), *map(format_number, (found.precision, found.recall, found.ap50, found.ap)))
        for found in boxes.classes
    )
    return ReportTable(
        title=f"classes, {source}; at IoU 0.5",
        columns=("class", "objects", f"precision at {threshold:g}", "recall", "AP", "AP 0.5:0.95"),
        groups=(rows,),
    )


def _readings_table(readings: ReadingMetrics) -> ReportTable:
    return ReportTable(
        title=f"plates read fully right: {_counts(readings.outcomes)}",
        columns=("", "plates", "right", "95 %", "wanted"),
        groups=tuple(tuple(_group_rows(readings, name)) for name in _ROW_NAMES),
    )


def _group_rows(readings: ReadingMetrics, group: str) -> Iterator[Row]:
    for found in readings.by[group]:
        wanted = f"{100 * WANTED[found.name]:.0f} %" if group == "width" and found.name in WANTED else ""
        yield f"{_ROW_NAMES[group]} {found.name}", str(found.count), *format_percent(found), wanted


def plate_plots(report: PlateReport, misses: Sequence[Thumbnail]) -> list[Plot]:
    """Plots of the first source's metrics, and a contact sheet of its misses."""
    side = report.sides[0]
    plots = [_readings_plot(side)]
    if side.boxes is not None:
        plots += _box_plots(side.boxes, report)
    plots += [
        _calibration_plot("calibration", side.calibration, "plates", "read fully right", report.threshold),
        _calibration_plot("candidates", side.candidate_calibration, "candidates", "that are the plate's text"),
        _calibration_plot("characters", side.character_calibration, "characters", "that are right"),
    ]
    if misses:
        title = "The widest plates that were not read; true outline in green, found one in red"
        alt = f"Contact sheet of {len(misses)} crops, each with what is on the plate and what was read."
        plots.append(contact_sheet("misses.png", misses, title, alt))
    return plots


def _calibration_plot(
    name: str, calibration: CalibrationMetrics, what: str, right: str, threshold: float | None = None
) -> Plot:
    return Plot(
        file=f"{name}.png",
        size=(5.5, 6),
        draw=lambda figure: draw_reliability(figure, calibration, what=what, right=right, threshold=threshold),
        title=f"Calibration of {what}",
        alt=f"Reliability diagram: the share of {what} {right} at each score, of {calibration.count} {what}.",
    )


def _readings_plot(side: PlateMetrics) -> Plot:
    return Plot(
        file="readings.png",
        size=(11, 6.5),
        draw=lambda figure: _draw_readings(figure, side.readings),
        title="Plates read fully right",
        alt=f"Proportion of plates read fully right, by {', '.join(_PANEL_TITLES.values())}, with 95 % intervals; "
        f"in all {_summary(side.readings.all)}.",
    )


def _box_plots(boxes: BoxMetrics, report: PlateReport) -> list[Plot]:
    counts = np.array(boxes.confusion)
    return [
        Plot(
            file="precision_recall.png",
            size=(12, 4.4),
            draw=lambda figure: _draw_curves(figure, boxes),
            title="Precision and recall of boxes",
            alt="Precision against recall at IoU 0.5 for each class of boards, groups and characters.",
        ),
        Plot(
            file="confusion.png",
            size=(8, 7.4),
            draw=lambda figure: draw_matrix(
                figure,
                counts,
                [*report.characters, "nothing"],
                [*report.characters, "missed"],
                left="drawn",
                below="found",
                title=f"Characters at IoU 0.5 and threshold {report.threshold:g}: drawn and found",
            ),
            title="Confusion matrix of characters",
            alt=f"Confusion matrix of characters: {np.trace(counts)} of {counts.sum()} lie on its diagonal.",
        ),
    ]


def _draw_readings(figure: Figure, readings: ReadingMetrics) -> None:
    """A panel for each grouping of plates."""
    shown = {title: readings.by[name] for name, title in _PANEL_TITLES.items() if readings.by[name]}
    panels = figure.subplots(2, 3, sharey=True, squeeze=False).ravel()
    for axes, (title, groups) in zip(panels, shown.items(), strict=False):
        draw_estimates(axes, [_estimate(found) for found in groups])
        axes.set_title(title, fontsize=9)
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    lowest = min((found.low or 0 for groups in shown.values() for found in groups), default=0)
    panels[0].set_ylim(10 * math.floor(10 * lowest), 101)
    for axes in (panels[0], panels[3]):
        axes.set_ylabel("read fully right, %")
    figure.suptitle(f"Plates read fully right, with 95 % intervals: {_summary(readings.all)}", fontsize=11)


def _estimate(found: Proportion) -> Estimate:
    name = f"{found.name.replace(' and more', '+')}\n{found.right}/{found.count}"
    return Estimate(name=name, value=found.share, low=found.low, high=found.high)


def _summary(found: Proportion) -> str:
    if found.share is None:
        return "no readable plates"
    return f"{found.right} of {found.count}, {100 * found.share:.1f} %"


def _draw_curves(figure: Figure, boxes: BoxMetrics) -> None:
    """A panel for plates, groups and characters."""
    kinds: Mapping[str, list[BoxClassMetrics]] = {
        "plates": [found for found in boxes.classes if found.label.endswith("board")],
        "groups": [found for found in boxes.classes if found.label.endswith("_n")],
        "characters": [found for found in boxes.classes if len(found.label) == 1],
    }
    panels: Any = figure.subplots(1, 3, sharex=True, sharey=True)
    for axes, (title, classes) in zip(panels, kinds.items(), strict=True):
        draw_curves(axes, _curves(classes), "AP at IoU 0.5", columns=3 if title == "characters" else 1)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("recall")
    panels[0].set_ylabel("precision")
    value = "unknown" if boxes.map50 is None else f"{boxes.map50:.4f}"
    figure.suptitle(f"Precision and recall at IoU 0.5: mAP {value}", fontsize=11)


def _curves(classes: Sequence[BoxClassMetrics]) -> list[PlotCurve]:
    return [
        PlotCurve(
            name=f"{found.label.upper() if len(found.label) == 1 else found.label}  {found.ap50:.3f}",
            x=RECALLS,
            y=found.curve,
        )
        for found in classes
        if found.curve is not None
    ]
