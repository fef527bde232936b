"""The pictures of a report on classifiers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from shardline.training.evaluation.classifier.averages import Interval
from shardline.training.evaluation.classifier.curves import GRID, Curves
from shardline.training.evaluation.classifier.evaluate import Report
from shardline.training.evaluation.classifier.tally import ClassFigures, Side
from shardline.training.evaluation.plots import (
    COLOURS,
    PALE,
    Curve,
    Drawing,
    Estimate,
    contact_sheet,
    draw_curves,
    draw_estimates,
    draw_matrix,
    draw_reliability,
)
from shardline.training.evaluation.share import Share
from shardline.training.evaluation.worst import Tile

_MOST_NAMED = 24  # classes whose curves can be told apart
_MOST_SHOWN = 40  # classes side by side
_OTHER = "other"


def drawings(report: Report, mistakes: Sequence[Tile]) -> list[Drawing]:
    """Of the first side's figures, and of the mistakes."""
    side = report.sides[0]
    right, count = side.top1.right, side.top1.count
    drawn = [_classes(side), _confusion(side, report.labels)]
    known = {each.label: each.curves for each in side.classes if each.curves is not None}
    if known:
        drawn.append(_curves(known, side))
    drawn.append(
        Drawing(
            file="calibration.png",
            size=(5.5, 6),
            draw=lambda figure: draw_reliability(figure, side.calibration, what="pictures", right="that are right"),
            title="Calibration of scores",
            alt=f"Reliability diagram: the share of right answers at each score, of {count} pictures.",
        )
    )
    if mistakes:
        title = f"The surest of {count - right} mistakes: what each picture shows → what was said"
        alt = f"Contact sheet of {len(mistakes)} pictures, each with its class, what was said, and both scores."
        drawn.append(contact_sheet("mistakes.png", mistakes, title, alt))
    return drawn


def _classes(side: Side) -> Drawing:
    """The worst first, as many as can be read."""
    shown = sorted(side.classes, key=lambda each: each.f1.value)[:_MOST_SHOWN]
    every = len(shown) == len(side.classes)
    which = "all classes" if every else f"the {len(shown)} worst of {len(side.classes)} classes"
    return Drawing(
        file="classes.png",
        size=(max(6.5, 1.2 + 0.75 * len(shown)), 5),
        draw=lambda figure: _draw_classes(figure, shown),
        title="Precision, recall and F1 of each class",
        alt=f"Precision, recall and F1 with 95 % intervals of {which}, the lowest F1, "
        f"{shown[0].label} with {shown[0].f1.value:.2f}, first.",
    )


def _draw_classes(figure: Figure, classes: Sequence[ClassFigures]) -> None:
    axes: Any = figure.subplots()
    rows = {
        "precision": [_estimate(each, each.precision.share, each.precision) for each in classes],
        "recall": [_estimate(each, each.recall.share, each.recall) for each in classes],
        "F1": [_estimate(each, each.f1.value, each.f1) for each in classes],
    }
    for number, estimates in enumerate(rows.values()):
        draw_estimates(axes, estimates, COLOURS[number], 0.22 * (number - 1))
    for label in axes.get_xticklabels():
        label.set(rotation=35, ha="right", rotation_mode="anchor")
    axes.set_ylim(-2, 102)
    axes.set_ylabel("%")
    marks = [container.lines[0] for container in axes.containers]
    axes.legend(marks, rows, loc="lower right", bbox_to_anchor=(1, 1), ncols=3, fontsize=8, frameon=False)
    axes.set_title("By F1; whiskers are 95 % intervals", fontsize=10, loc="left")


def _estimate(each: ClassFigures, value: float | None, reach: Share | Interval) -> Estimate:
    return Estimate(name=f"{each.label} ({each.recall.count})", value=value, low=reach.low, high=reach.high)


def _confusion(side: Side, labels: Sequence[str]) -> Drawing:
    """The last column is there only if something is in it."""
    counts = np.array(side.confusion)
    others = bool(counts[:, -1].any())
    columns = [*labels, _OTHER] if others else list(labels)
    shown = counts if others else counts[:, :-1]
    inches = min(16.0, max(5.5, 2.5 + 0.36 * len(labels)))
    return Drawing(
        file="confusion.png",
        size=(inches + 1.2, inches),
        draw=lambda figure: draw_matrix(
            figure, shown, labels, columns, left="shown", below="said", title="Classes shown and said"
        ),
        title="Classes taken for others",
        alt=f"Confusion matrix of {len(labels)} classes: {np.trace(counts)} of {counts.sum()} pictures lie on its "
        "diagonal.",
    )


def _curves(known: dict[str, Curves], side: Side) -> Drawing:
    return Drawing(
        file="curves.png",
        size=(11, 5.6),
        draw=lambda figure: _draw_curves(figure, known),
        title="Precision and recall; ROC",
        alt=f"Curves of {len(known)} classes, each against all others: precision against recall, mean average "
        f"precision {side.average_precision:.4f}; and true against false positives, mean area {side.roc_auc:.4f}.",
    )


def _draw_curves(figure: Figure, known: dict[str, Curves]) -> None:
    """Each class, and their mean; of many classes only that has a colour."""
    left, right = figure.subplots(1, 2)
    precisions = {f"{label}  {each.average_precision:.3f}": each.precision for label, each in known.items()}
    rocs = {f"{label}  {each.roc_auc:.3f}": each.roc for label, each in known.items()}
    precision = float(np.mean([each.average_precision for each in known.values()]))
    area = float(np.mean([each.roc_auc for each in known.values()]))
    columns = -(-len(known) // 12)
    _draw_panel(left, precisions, f"mean  {precision:.3f}", "average precision", columns, "lower left")
    _draw_panel(right, rocs, f"mean  {area:.3f}", "area under the curve", columns, "lower right")
    left.set_xlabel("recall")
    left.set_ylabel("precision")
    right.set_xlabel("share of the others")
    right.set_ylabel("share of the class (recall)")
    figure.suptitle("Each class against all others, by its score", fontsize=11)


def _draw_panel(
    axes: Any, by_name: dict[str, tuple[float, ...]], mean: str, legend: str, columns: int, place: str
) -> None:
    curves = [Curve(name=name, across=GRID, up=up) for name, up in by_name.items()]
    if len(curves) > _MOST_NAMED:
        for each in curves:
            axes.plot(each.across, each.up, color=PALE, linewidth=0.5)
        curves, columns = [], 1
    axes.plot(GRID, np.mean(list(by_name.values()), axis=0), color="black", linewidth=2, label=mean)
    draw_curves(axes, curves, legend, columns, place)
