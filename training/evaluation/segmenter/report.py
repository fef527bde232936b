"""Report of a segmentation's evaluation: its tables and plots."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from shardline.training.evaluation.classifier.metrics import Interval
from shardline.training.evaluation.plots import (
    MOST_ROWS,
    Estimate,
    Plot,
    Thumbnail,
    confusion_plot,
    contact_sheet,
    draw_rows,
    rows_size,
)
from shardline.training.evaluation.report import ReportPage, ReportTable, difference_lines
from shardline.training.evaluation.segmenter.metrics import SegmenterMetrics, SegmenterReport

_MOST_CONFUSED = 15  # rows of the table
_OTHER = "none"


def segmenter_page(report: SegmenterReport, worst: Sequence[Thumbnail], data: Path) -> ReportPage:
    """The page about a report; `data` is where the pictures come from."""
    side = report.sides[0]
    return ReportPage(
        title=f"Evaluation of {side.name}",
        lead=f"{report.pictures} pictures with {side.pixels:,} pixels of {len(side.classes)} classes, from {data}.",
        tables=list(_tables(report)),
        plots=_plots(report, worst),
    )


def _tables(report: SegmenterReport) -> Iterator[ReportTable | str]:
    """Yield tables and remarks, in the order in which they are read."""
    yield _sources_table(report)
    yield _classes_table(report.sides[0])
    confused = _confused_table(report.sides[0])
    if confused is not None:
        yield confused
    yield from difference_lines(report.differences, report.sides[0].name, "mask")


def _sources_table(report: SegmenterReport) -> ReportTable:
    """A column for each source."""
    sides = report.sides
    rows = {
        "mean IoU (95 %)": [_format_interval(side.mean_iou) for side in sides],
        "pixel accuracy (95 %)": [_format_interval(side.pixel_accuracy) for side in sides],
        "mean accuracy of classes": [_format_share(side.mean_accuracy) for side in sides],
    }
    return ReportTable(
        title=f"{report.pictures} pictures",
        columns=("", *(side.name for side in sides)),
        groups=(tuple((name, *values) for name, values in rows.items()),),
    )


def _classes_table(side: SegmenterMetrics) -> ReportTable:
    rows = tuple(
        (
            found.label,
            f"{found.pixels / max(1, side.pixels):.2%}",
            _format_interval(found.iou),
            _format_share(found.accuracy),
            _format_share(found.precision),
        )
        for found in side.classes
    )
    columns = ("class", "of all pixels", "IoU (95 %)", "accuracy", "precision")
    return ReportTable(title=f"classes, {side.name}", columns=columns, groups=(rows,))


def _confused_table(side: SegmenterMetrics) -> ReportTable | None:
    """The most frequent mistakes."""
    counts = np.array(side.confusion)
    if not counts.size:
        return None
    names = [*(found.label for found in side.classes), _OTHER]
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:_MOST_CONFUSED]
    cells = [divmod(cell, len(names)) for cell in order.tolist() if counts.flat[cell]]
    if not cells:
        return None
    rows = tuple((names[row], names[column], f"{counts[row, column] / side.pixels:.2%}") for row, column in cells)
    title = f"most frequent mistakes, {side.name}"
    return ReportTable(title=title, columns=("true", "predicted", "of all pixels"), groups=(rows,))


def _format_interval(found: Interval | None) -> str:
    return "-" if found is None else f"{100 * found.value:.1f} % ({100 * found.low:.1f}–{100 * found.high:.1f})"


def _format_share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _plots(report: SegmenterReport, worst: Sequence[Thumbnail]) -> list[Plot]:
    """Plots of the first source's metrics, and a contact sheet of its worst pictures."""
    side = report.sides[0]
    plots = [_classes_plot(side), _confusion_plot(side)] if side.classes else []
    if worst:
        title = "The pictures with the fewest pixels right: true mask on the left, predicted mask on the right"
        alt = f"Contact sheet of {len(worst)} pictures, each twice: under its true and under its predicted mask."
        plots.append(contact_sheet("worst.png", worst, title, alt))
    return plots


def _classes_plot(side: SegmenterMetrics) -> Plot:
    """The classes with the lowest IoU first, as many as can be read."""
    known = [(found.label, found.iou) for found in side.classes if found.iou is not None]
    shown = sorted(known, key=lambda entry: entry[1].value)[:MOST_ROWS]
    which = "All classes" if len(shown) == len(known) else f"The {len(shown)} worst of {len(known)} classes"
    estimates = [Estimate(name=name, value=iou.value, low=iou.low, high=iou.high) for name, iou in shown]
    return Plot(
        file="classes.png",
        size=rows_size(len(shown)),
        draw=lambda figure: _draw_classes(figure, estimates, which),
        title="IoU of each class",
        alt=f"Intersection over union with 95 % intervals of {len(shown)} classes, the lowest, {shown[0][0]} with "
        f"{shown[0][1].value:.2f}, first.",
    )


def _draw_classes(figure: Figure, estimates: Sequence[Estimate], which: str) -> None:
    axes: Any = figure.subplots()
    draw_rows(axes, estimates)
    axes.set_xlabel("IoU in %")
    figure.suptitle(f"{which}, lowest IoU first; error bars are 95 % intervals", fontsize=10)


def _confusion_plot(side: SegmenterMetrics) -> Plot:
    labels = [found.label for found in side.classes]
    return confusion_plot(np.array(side.confusion), labels, _OTHER, "pixels", "Pixels of true and predicted classes")
