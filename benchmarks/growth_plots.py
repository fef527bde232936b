"""A series as a picture: throughput and latency, measured and predicted."""

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks.figures import Spread
from benchmarks.plots import FLOOR, OURS, THEIRS
from benchmarks.series import Series


def plot_series(series: Series, title: str, out: Path) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    xs = [point.x for point in series.points]
    _measured(left, xs, [point.rps for point in series.points])
    left.plot(xs, [point.predicted_rps for point in series.points], "--", color=THEIRS, label="predicted, this machine")
    if all(point.apart_rps is not None for point in series.points):
        apart = [point.apart_rps or 0.0 for point in series.points]
        left.plot(xs, apart, ":", color=FLOOR, label="predicted, a machine for each stage")
    left.set_ylabel("images a second")
    _measured(right, xs, [point.p50_ms for point in series.points])
    predicted_ms = [point.predicted_ms for point in series.points]
    right.plot(xs, predicted_ms, "--", color=THEIRS, label="predicted")
    right.set_ylabel("p50 in ms" if series.name == "clients" else "p50 in ms, 1 client")
    if series.logarithmic:  # twice the clients wait twice as long
        right.set_yscale("log", base=2)
        right.yaxis.set_major_formatter("{x:.0f}")
    for axis in (left, right):
        _finish(axis, series, xs)
    figure.suptitle(title, fontsize=11)
    figure.savefig(out, dpi=110)
    plt.close(figure)


def _measured(axis: Axes, xs: list[int], spreads: list[Spread]) -> None:
    medians = [each.median for each in spreads]
    bars = [[each.median - each.low for each in spreads], [each.high - each.median for each in spreads]]
    axis.errorbar(xs, medians, yerr=bars, fmt="o-", color=OURS, capsize=3, label="measured (least to most)")


def _finish(axis: Axes, series: Series, xs: list[int]) -> None:
    if series.logarithmic:
        axis.set_xscale("log", base=2)
        axis.minorticks_off()
    axis.set_xticks(xs, [str(x) for x in xs])
    axis.set_xlabel(series.label)
    if axis.get_yscale() == "linear":
        axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=8, frameon=False)
