"""What was found of classifiers, as tables."""

from collections.abc import Iterator

import numpy as np

from shardline.training.evaluation.classifier.averages import Interval
from shardline.training.evaluation.classifier.evaluate import Report
from shardline.training.evaluation.classifier.tally import Side
from shardline.training.evaluation.tables import Table, differences, number, with_interval

_MOST_CONFUSED = 15


def tables(report: Report) -> Iterator[Table | str]:
    """Tables and lines, in the order in which they are read."""
    yield _sides(report)
    yield _classes(report.sides[0])
    confused = _confused(report)
    if confused is not None:
        yield confused
    yield from differences(report.differences, report.sides[0].name, "class")


def _sides(report: Report) -> Table:
    """A column for each side."""
    sides = report.sides
    first = {
        "top-1 (95 %)": [with_interval(side.top1) for side in sides],
        "top-5": ["-" if side.top5 is None else with_interval(side.top5) for side in sides],
    }
    averages = {
        f"{name}, {kind}": [_interval(getattr(getattr(side, kind), field)) for side in sides]
        for kind in ("macro", "micro")
        for name, field in (("precision", "precision"), ("recall", "recall"), ("F1", "f1"))
    }
    scores = {
        "average precision, mean of classes": [number(side.average_precision) for side in sides],
        "area under ROC, mean of classes": [number(side.roc_auc) for side in sides],
        "calibration error of scores": [number(side.calibration.error, 3) for side in sides],
    }
    return Table(
        title=f"{report.pictures} pictures of {len(report.labels)} classes",
        columns=("", *(side.name for side in sides)),
        groups=tuple(tuple((name, *values) for name, values in rows.items()) for rows in (first, averages, scores)),
    )


def _classes(side: Side) -> Table:
    rows = tuple(
        (
            each.label,
            str(each.recall.count),
            _short(each.precision.share, each.precision.low, each.precision.high),
            _short(each.recall.share, each.recall.low, each.recall.high),
            _short(each.f1.value, each.f1.low, each.f1.high),
            number(None if each.curves is None else each.curves.average_precision),
            number(None if each.curves is None else each.curves.roc_auc),
        )
        for each in side.classes
    )
    columns = ("class", "n", "precision", "recall", "F1", "AP", "ROC area")
    return Table(title=f"classes, {side.name}; in percent, with 95 % intervals", columns=columns, groups=(rows,))


def _confused(report: Report) -> Table | None:
    """The most frequent mistakes."""
    side = report.sides[0]
    names = (*report.labels, "another class")
    counts = np.array(side.confusion)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:_MOST_CONFUSED]
    places = [divmod(place, len(names)) for place in order.tolist() if counts.flat[place]]
    if not places:
        return None
    rows = tuple((names[row], names[column], str(counts[row, column])) for row, column in places)
    title = f"most often taken for another, {side.name}"
    return Table(title=title, columns=("shown", "said", "pictures"), groups=(rows,))


def _interval(found: Interval) -> str:
    return f"{100 * found.value:.1f} % ({100 * found.low:.1f}–{100 * found.high:.1f})"


def _short(value: float | None, low: float | None, high: float | None) -> str:
    """In percent, narrow enough for three of them in a terminal."""
    return (
        "-" if value is None or low is None or high is None else f"{100 * value:.1f} ({100 * low:.0f}–{100 * high:.0f})"
    )
