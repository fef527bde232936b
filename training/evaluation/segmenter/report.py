"""Report of a segmentation's evaluation: its tables and plots."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from shardline.training.evaluation.classifier.metrics import Interval
from shardline.training.evaluation.plots import (
    Estimate,
    Plot,
    Thumbnail,
    contact_sheet,
    draw_estimates,
    draw_matrix,
)
from shardline.training.evaluation.report import ReportPage, ReportTable, difference_lines
from shardline.training.evaluation.segmenter.metrics import SegmenterMetrics, SegmenterReport

_MOST_CONFUSED = 15  # rows of the table
_MOST_COLUMNS = 40  # classes side by side
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
    shown = sorted(known, key=lambda entry: entry[1].value)[:_MOST_COLUMNS]
    estimates = [Estimate(name=name, value=iou.value, low=iou.low, high=iou.high) for name, iou in shown]
    return Plot(
        file="classes.png",
        size=(max(6.5, 1.2 + 0.5 * len(shown)), 4.5),
        draw=lambda figure: _draw_classes(figure, estimates),
        title="IoU of each class",
        alt=f"Intersection over union with 95 % intervals of {len(shown)} classes, the lowest, {shown[0][0]} with "
        f"{shown[0][1].value:.2f}, first.",
    )


def _draw_classes(figure: Figure, estimates: Sequence[Estimate]) -> None:
    axes: Any = figure.subplots()
    draw_estimates(axes, estimates)
    for label in axes.get_xticklabels():
        label.set(rotation=35, ha="right", rotation_mode="anchor")
    axes.set_ylim(-2, 102)
    axes.set_ylabel("IoU in %")
    axes.set_title("By IoU; error bars are 95 % intervals", fontsize=10, loc="left")


def _confusion_plot(side: SegmenterMetrics) -> Plot:
    """The last column is shown only if something is in it."""
    counts, labels = np.array(side.confusion), [found.label for found in side.classes]
    others = bool(counts[:, -1].any())
    columns = [*labels, _OTHER] if others else labels
    shown = counts if others else counts[:, :-1]
    inches = min(16.0, max(5.5, 2.5 + 0.36 * len(labels)))
    return Plot(
        file="confusion.png",
        size=(inches + 1.2, inches),
        draw=lambda figure: draw_matrix(
            figure, shown, labels, columns, left="true", below="predicted", title="Pixels of true and predicted classes"
        ),
        title="Confusion matrix",
        alt=f"Confusion matrix of {len(labels)} classes: {np.trace(counts)} of {counts.sum()} pixels lie on its "
        "diagonal.",
    )
