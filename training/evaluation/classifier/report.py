"""Report of a classifier's evaluation: its tables and plots."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from shardline.training.evaluation.classifier.metrics import (
    GRID,
    ClassCurves,
    ClassifierMetrics,
    ClassifierReport,
    ClassMetrics,
    Interval,
)
from shardline.training.evaluation.metrics import Proportion
from shardline.training.evaluation.plots import (
    COLOURS,
    MOST_ROWS,
    PALE,
    Estimate,
    Plot,
    PlotCurve,
    Thumbnail,
    confusion_plot,
    contact_sheet,
    draw_curves,
    draw_reliability,
    draw_rows,
    rows_size,
)
from shardline.training.evaluation.report import (
    ReportPage,
    ReportTable,
    difference_lines,
    format_number,
    format_with_interval,
)

_MOST_CONFUSED = 15  # rows of the table
_MOST_LEGENDS = 24  # classes whose curves can be distinguished
_LEGEND_ROWS = 12
_OTHER = "other"


def classifier_page(report: ClassifierReport, mistakes: Sequence[Thumbnail], data: str) -> ReportPage:
    """The page about a report; `data` is where the pictures come from."""
    return ReportPage(
        title=f"Evaluation of {report.sides[0].name}",
        lead=f"{report.pictures} pictures of {len(report.labels)} classes, from {data}.",
        tables=list(classifier_tables(report)),
        plots=classifier_plots(report, mistakes),
    )


def classifier_tables(report: ClassifierReport) -> Iterator[ReportTable | str]:
    """Yield tables and remarks, in the order in which they are read."""
    yield _sources_table(report)
    yield _classes_table(report.sides[0])
    confused = _confused_table(report)
    if confused is not None:
        yield confused
    yield "each picture has one class and one prediction: micro precision, recall and F1 are top-1"
    yield from difference_lines(report.differences, report.sides[0].name, "class")


def _sources_table(report: ClassifierReport) -> ReportTable:
    """A column for each source."""
    sides = report.sides
    accuracies = {
        "top-1 (95 %)": [format_with_interval(side.top1) for side in sides],
        "top-5 (95 %)": ["-" if side.top5 is None else format_with_interval(side.top5) for side in sides],
    }
    averages = {
        f"{name}, mean of classes": [_format_interval(getattr(side.macro, field)) for side in sides]
        for name, field in (("precision", "precision"), ("recall", "recall"), ("F1", "f1"))
    }
    scores = {
        "average precision, mean of classes": [format_number(side.average_precision) for side in sides],
        "area under ROC, mean of classes": [format_number(side.roc_auc) for side in sides],
        "calibration error of scores": [format_number(side.calibration.error, 3) for side in sides],
    }
    return ReportTable(
        title=f"{report.pictures} pictures of {len(report.labels)} classes",
        columns=("", *(side.name for side in sides)),
        groups=tuple(
            tuple((name, *values) for name, values in rows.items()) for rows in (accuracies, averages, scores)
        ),
    )


def _classes_table(side: ClassifierMetrics) -> ReportTable:
    rows = tuple(
        (
            found.label,
            str(found.recall.count),
            _format_short(found.precision.share, found.precision),
            _format_short(found.recall.share, found.recall),
            _format_short(found.f1.value, found.f1),
            format_number(None if found.curves is None else found.curves.average_precision),
            format_number(None if found.curves is None else found.curves.roc_auc),
        )
        for found in side.classes
    )
    columns = ("class", "n", "precision", "recall", "F1", "AP", "ROC area")
    return ReportTable(title=f"classes, {side.name}; in percent, with 95 % intervals", columns=columns, groups=(rows,))


def _confused_table(report: ClassifierReport) -> ReportTable | None:
    """The most frequent mistakes."""
    side = report.sides[0]
    names = (*report.labels, "another class")
    counts = np.array(side.confusion)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:_MOST_CONFUSED]
    cells = [divmod(cell, len(names)) for cell in order.tolist() if counts.flat[cell]]
    if not cells:
        return None
    rows = tuple((names[row], names[column], str(counts[row, column])) for row, column in cells)
    title = f"most frequent mistakes, {side.name}"
    return ReportTable(title=title, columns=("true", "predicted", "pictures"), groups=(rows,))


def _format_interval(found: Interval) -> str:
    return f"{100 * found.value:.1f} % ({100 * found.low:.1f}–{100 * found.high:.1f})"


def _format_short(value: float | None, interval: Proportion | Interval) -> str:
    """Percent with its interval, narrow enough for three of them in a terminal."""
    if value is None or interval.low is None or interval.high is None:
        return "-"
    return f"{100 * value:.1f} ({100 * interval.low:.0f}–{100 * interval.high:.0f})"


def classifier_plots(report: ClassifierReport, mistakes: Sequence[Thumbnail]) -> list[Plot]:
    """Plots of the first source's metrics, and a contact sheet of its mistakes."""
    side = report.sides[0]
    right, count = side.top1.right, side.top1.count
    plots = [
        _classes_plot(side),
        confusion_plot(np.array(side.confusion), report.labels, _OTHER, "pictures", "True and predicted classes"),
    ]
    known = {found.label: found.curves for found in side.classes if found.curves is not None}
    if known:
        plots.append(_curves_plot(known, side))
    plots.append(
        Plot(
            file="calibration.png",
            size=(5.5, 6),
            draw=lambda figure: draw_reliability(figure, side.calibration, what="pictures", right="that are right"),
            title="Calibration of scores",
            alt=f"Reliability diagram: the share of right predictions at each score, of {count} pictures.",
        )
    )
    if mistakes:
        title = f"The highest scores of {count - right} mistakes: true class → predicted class"
        alt = f"Contact sheet of {len(mistakes)} pictures, each with its true and its predicted class and both scores."
        plots.append(contact_sheet("mistakes.png", mistakes, title, alt))
    return plots


def _classes_plot(side: ClassifierMetrics) -> Plot:
    """The classes with the lowest F1 first, as many as can be read."""
    shown = sorted(side.classes, key=lambda found: found.f1.value)[:MOST_ROWS]
    all_shown = len(shown) == len(side.classes)
    which = "all classes" if all_shown else f"the {len(shown)} worst of {len(side.classes)} classes"
    return Plot(
        file="classes.png",
        size=rows_size(len(shown)),
        draw=lambda figure: _draw_classes(figure, shown, which),
        title="Precision, recall and F1 of each class",
        alt=f"Precision, recall and F1 with 95 % intervals of {which}, the lowest F1, "
        f"{shown[0].label} with {shown[0].f1.value:.2f}, first.",
    )


def _draw_classes(figure: Figure, classes: Sequence[ClassMetrics], which: str) -> None:
    axes: Any = figure.subplots()
    rows = {
        "precision": [_estimate(found, found.precision.share, found.precision) for found in classes],
        "recall": [_estimate(found, found.recall.share, found.recall) for found in classes],
        "F1": [_estimate(found, found.f1.value, found.f1) for found in classes],
    }
    for number, estimates in enumerate(rows.values()):
        draw_rows(axes, estimates, COLOURS[number], 0.22 * (number - 1))
    axes.set_xlabel("%")
    marks = [container.lines[0] for container in axes.containers]
    axes.legend(marks, rows, loc="lower right", bbox_to_anchor=(1, 1), ncols=3, fontsize=8, frameon=False)
    figure.suptitle(f"{which[0].upper()}{which[1:]}, lowest F1 first; error bars are 95 % intervals", fontsize=10)


def _estimate(found: ClassMetrics, value: float | None, interval: Proportion | Interval) -> Estimate:
    return Estimate(name=f"{found.label} ({found.recall.count})", value=value, low=interval.low, high=interval.high)


def _curves_plot(known: Mapping[str, ClassCurves], side: ClassifierMetrics) -> Plot:
    return Plot(
        file="curves.png",
        size=(11, 5.6),
        draw=lambda figure: _draw_curves(figure, known),
        title="Precision and recall; ROC",
        alt=f"Curves of {len(known)} classes, each against all others: precision against recall, mean average "
        f"precision {side.average_precision:.4f}; and true against false positives, mean area {side.roc_auc:.4f}.",
    )


def _draw_curves(figure: Figure, known: Mapping[str, ClassCurves]) -> None:
    """Curves of each class and their mean."""
    left, right = figure.subplots(1, 2)
    precisions = {f"{label}  {curves.average_precision:.3f}": curves.precision for label, curves in known.items()}
    rocs = {f"{label}  {curves.roc_auc:.3f}": curves.roc for label, curves in known.items()}
    precision = float(np.mean([curves.average_precision for curves in known.values()]))
    area = float(np.mean([curves.roc_auc for curves in known.values()]))
    columns = -(-len(known) // _LEGEND_ROWS)
    _draw_panel(left, precisions, f"mean  {precision:.3f}", "average precision", columns, "lower left")
    _draw_panel(right, rocs, f"mean  {area:.3f}", "area under the curve", columns, "lower right")
    left.set_xlabel("recall")
    left.set_ylabel("precision")
    right.set_xlabel("false positive rate")
    right.set_ylabel("true positive rate (recall)")
    figure.suptitle("Each class against all others, by its score", fontsize=11)


def _draw_panel(
    axes: Any, by_name: Mapping[str, tuple[float, ...]], mean: str, legend: str, columns: int, position: str
) -> None:
    """Where classes are too many for a legend, they are grey, and only their mean is in colour."""
    curves = [PlotCurve(name=name, x=GRID, y=values) for name, values in by_name.items()]
    if len(curves) > _MOST_LEGENDS:
        for curve in curves:
            axes.plot(curve.x, curve.y, color=PALE, linewidth=0.5)
        curves, columns = [], 1
    axes.plot(GRID, np.mean(list(by_name.values()), axis=0), color="black", linewidth=2, label=mean)
    draw_curves(axes, curves, legend, columns, position)
