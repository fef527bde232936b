"""Plots of results: a bar for each system, and growth series as measured and as predicted."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks.figures import ALONE, MANY, Spread, rows
from benchmarks.pipeline import GrowthSeries
from benchmarks.systems.base import LoadSample

OURS, THEIRS, FLOOR = "#2a6f97", "#c1666b", "#8d99ae"


def plot_systems(samples: Sequence[LoadSample], title: str, out: Path) -> None:
    """Plot throughput with many clients and latency with one: a bar for each system, with the range of the rounds."""
    found = rows(samples)
    systems = list(dict.fromkeys(row.system for row in found))
    figure, axes = plt.subplots(1, 2, figsize=(13, 1.6 + 0.36 * len(systems)), sharey=True, layout="constrained")
    _bars(axes[0], systems, {row.system: row.rps for row in found if row.load == MANY})
    _bars(axes[1], systems, {row.system: row.p50_ms for row in found if row.load == ALONE})
    axes[0].set_xlabel("images per second, 8 clients (more is better)")
    axes[1].set_xlabel("p50 in ms, 1 client (less is better)")
    axes[0].set_yticks(range(len(systems)), systems)
    axes[0].invert_yaxis()
    figure.suptitle(title, fontsize=11)
    figure.savefig(out, dpi=110)
    plt.close(figure)


def _bars(axis: Axes, systems: Sequence[str], spreads: Mapping[str, Spread | None]) -> None:
    most = max((found.high for found in spreads.values() if found), default=1.0)
    for position, system in enumerate(systems):
        found = spreads.get(system)
        if found is None:
            continue
        errors = [[found.median - found.low], [found.high - found.median]]
        axis.barh(position, found.median, color=colour(system), xerr=errors, ecolor="#333333", capsize=2)
        axis.text(found.high + most * 0.01, position, f"{found.median:.1f}", va="center", fontsize=8)
    axis.set_xlim(0, most * 1.12)
    axis.grid(axis="x", alpha=0.3)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def colour(system: str) -> str:
    if system.startswith("in-process"):
        return FLOOR
    return OURS if system.startswith("k") else THEIRS


def plot_series(series: GrowthSeries, title: str, out: Path) -> None:
    """Plot throughput and latency of a series, measured and predicted."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    xs = [point.x for point in series.points]
    _measured(left, xs, [point.rps for point in series.points])
    left.plot(xs, [point.predicted_rps for point in series.points], "--", color=THEIRS, label="predicted, this machine")
    if all(point.apart_rps is not None for point in series.points):
        apart = [point.apart_rps or 0.0 for point in series.points]
        left.plot(xs, apart, ":", color=FLOOR, label="predicted, with a machine for each stage")
    left.set_ylabel("images per second")
    _measured(right, xs, [point.p50_ms for point in series.points])
    predicted_ms = [point.predicted_ms for point in series.points]
    right.plot(xs, predicted_ms, "--", color=THEIRS, label="predicted")
    right.set_ylabel("p50 in ms" if series.name == "clients" else "p50 in ms, 1 client")
    if series.logarithmic:  # latency doubles with the number of clients
        right.set_yscale("log", base=2)
        right.yaxis.set_major_formatter("{x:.0f}")
    for axis in (left, right):
        _finish(axis, series, xs)
    figure.suptitle(title, fontsize=11)
    figure.savefig(out, dpi=110)
    plt.close(figure)


def _measured(axis: Axes, xs: list[int], spreads: list[Spread]) -> None:
    medians = [found.median for found in spreads]
    bars = [[found.median - found.low for found in spreads], [found.high - found.median for found in spreads]]
    axis.errorbar(xs, medians, yerr=bars, fmt="o-", color=OURS, capsize=3, label="measured (range of the rounds)")


def _finish(axis: Axes, series: GrowthSeries, xs: list[int]) -> None:
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
