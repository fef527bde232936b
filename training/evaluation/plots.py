"""Plots that all tasks share, drawn by matplotlib: intervals, reliability, curves, matrices and contact sheets."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.style
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from numpy.typing import NDArray

from shardline.wire.text import printable

if TYPE_CHECKING:
    from shardline.training.evaluation.metrics import CalibrationMetrics

COLOURS = (
    "#4477aa",
    "#ee6677",
    "#228833",
    "#ccbb44",
    "#66ccee",
    "#aa3377",
)  # Paul Tol's, distinguishable with any colour vision
GREY, PALE = "#555555", "#cccccc"
_LINES = ("-", "--", ":", "-.")
_TRUE_OUTLINE, _FOUND_OUTLINE = "#00dd55", "#ff3355"
_STYLE: dict[str, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,  # a $ in a class's name is no formula
}
_THUMBNAILS_PER_ROW = 4
_DPI = 120
MOST_ROWS = 40  # classes that can be read side by side
_CONFUSED_ROWS = 30  # classes in the matrix, where there are more than MOST_ROWS
_MOST_CHARACTERS = 28  # of a class's name
_OTHERS = "all others"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A plot that is not yet drawn. `size` is in inches; `title` and `alt` are its caption and alternative text."""

    file: str
    size: tuple[float, float]
    draw: Callable[[Figure], None]
    title: str
    alt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """An estimated proportion with its interval, each from 0 to 1; None where nothing is known."""

    name: str
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlotCurve:
    """A line through points; `x` and `y` have the same length."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnail:
    """One picture of a contact sheet. `pixels` are uint8 [height, width, 3]; the outlines are in their coordinates."""

    pixels: NDArray[np.uint8]
    title: str
    true_outline: Sequence[tuple[float, float]] | None = None
    found_outline: Sequence[tuple[float, float]] | None = None


def save_plots(plots: Iterable[Plot], folder: Path) -> list[Path]:
    """Draw plots into a folder that exists, and return the PNG files.

    Raises:
        OSError: a file cannot be written.
    """
    return [_save(folder / plot.file, plot.size, plot.draw) for plot in plots]


def _save(path: Path, size: tuple[float, float], draw: Callable[[Figure], None]) -> Path:
    with matplotlib.style.context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        figure.savefig(path, dpi=_DPI)
    return path


def draw_estimates(axes: Any, estimates: Sequence[Estimate], colour: str = COLOURS[0], shift: float = 0.0) -> None:
    """Draw estimates in percent with error bars, one at each tick; `shift` moves them sideways."""
    known = [estimate for estimate in estimates if estimate.value is not None]
    values = np.array([estimate.value for estimate in known], float)
    below = values - [estimate.low for estimate in known]
    above = np.array([estimate.high for estimate in known], float) - values
    positions = [number + shift for number, estimate in enumerate(estimates) if estimate.value is not None]
    axes.errorbar(
        positions,
        100 * values,
        100 * np.maximum([below, above], 0),
        fmt="o",
        color=colour,
        ecolor=GREY,
        capsize=4,
        linewidth=1,
    )
    axes.set_xticks(range(len(estimates)), [estimate.name for estimate in estimates], fontsize=8)
    axes.set_xlim(-0.6, len(estimates) - 0.4)
    axes.grid(axis="y", color=PALE, linewidth=0.5)


def draw_rows(axes: Any, estimates: Sequence[Estimate], colour: str = COLOURS[0], shift: float = 0.0) -> None:
    """Draw estimates in percent with error bars, one in each row, the first at the top; `shift` moves them down."""
    rows = [number for number, estimate in enumerate(estimates) if estimate.value is not None]
    values, low, high = (
        100 * np.array([getattr(estimates[row], name) for row in rows], float) for name in ("value", "low", "high")
    )
    axes.errorbar(
        values,
        np.array(rows) + shift,
        xerr=np.maximum([values - low, high - values], 0),
        fmt="o",
        markersize=4,
        color=colour,
        ecolor=GREY,
        capsize=2,
        linewidth=1,
    )
    axes.set_yticks(range(len(estimates)), [_shown(estimate.name) for estimate in estimates], fontsize=8)
    axes.set_ylim(len(estimates) - 0.4, -0.6)
    axes.set_xlim(-2, 102)
    axes.grid(axis="x", color=PALE, linewidth=0.5)


def rows_size(rows: int) -> tuple[float, float]:
    """Size of a plot with this number of rows, in inches."""
    return 8.0, 1.4 + 0.3 * max(4, rows)


def draw_reliability(
    figure: Figure, calibration: "CalibrationMetrics", *, what: str, right: str, threshold: float | None = None
) -> None:
    """Draw a reliability diagram, and below it the number of predictions at each score.

    Args:
        what: the scored predictions, such as "plates".
        right: how the y axis names a right prediction, such as "read fully right".
    """
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    known = [
        score_bin
        for score_bin in calibration.bins
        if score_bin.mean_score is not None and score_bin.share_right is not None
    ]
    upper.plot((0, 1), (0, 1), color=PALE, linewidth=1)
    upper.bar(
        [score_bin.low for score_bin in known],
        [score_bin.share_right or 0 for score_bin in known],
        [score_bin.high - score_bin.low for score_bin in known],
        align="edge",
        color=COLOURS[0],
        alpha=0.35,
        edgecolor="white",
    )
    upper.plot(
        [score_bin.mean_score or 0 for score_bin in known],
        [score_bin.share_right or 0 for score_bin in known],
        "o-",
        color=GREY,
    )
    error = "" if calibration.error is None else f": expected calibration error {calibration.error:.3f}"
    upper.set_title(f"Scores of {what}{error}", fontsize=10)
    upper.set_ylabel(f"share {right}")
    upper.set_ylim(0, 1.02)
    lower.bar(
        [score_bin.low for score_bin in calibration.bins],
        [score_bin.count for score_bin in calibration.bins],
        [score_bin.high - score_bin.low for score_bin in calibration.bins],
        align="edge",
        color=GREY,
        edgecolor="white",
    )
    lower.set_ylabel(what)
    lower.set_xlabel("score" if threshold is None else f"score (dashed: the threshold, {threshold:g})")
    lower.set_xlim(0, 1)
    for axes in (upper, lower) if threshold is not None else ():
        axes.axvline(threshold, color=COLOURS[1], linestyle="--", linewidth=1)


def draw_curves(
    axes: Any, curves: Sequence[PlotCurve], legend: str, columns: int = 1, position: str = "lower left"
) -> None:
    """Draw curves in a square from 0 to 1, each with its own combination of colour and line style."""
    for number, curve in enumerate(curves):
        style = _LINES[number // len(COLOURS) % len(_LINES)]
        axes.plot(curve.x, curve.y, style, color=COLOURS[number % len(COLOURS)], label=curve.name)
    axes.set_xlim(0, 1.01)
    axes.set_ylim(0, 1.01)
    if axes.lines:
        axes.legend(
            loc=position,
            fontsize=7.5,
            edgecolor="none",
            framealpha=0.85,
            title=legend,
            title_fontsize=7.5,
            ncols=columns,
        )


def confusion_plot(counts: NDArray[np.int64], labels: Sequence[str], other: str, what: str, title: str) -> Plot:
    """Plot a confusion matrix, int64 [classes, classes + 1], whose last column holds predictions of no class.

    Of more than `MOST_ROWS` classes, those with the most mistakes are shown; all others share a column.

    Args:
        other: name of the last column, which is shown only if something is in it.
        what: the counted things, such as "pictures".
    """
    right, chosen = int(np.trace(counts)), np.arange(len(labels))
    if len(labels) > MOST_ROWS:
        chosen = np.sort(np.argsort(-_mistakes(counts), kind="stable")[:_CONFUSED_ROWS])
        title = f"{title}: the {len(chosen)} of {len(labels)} classes with the most mistakes"
    names = [labels[number] for number in chosen.tolist()]
    rows = counts[chosen]
    columns = [*rows[:, chosen].T, rows.sum(axis=1) - rows[:, [*chosen, -1]].sum(axis=1), rows[:, -1]]
    headings = [*names, _OTHERS, other]
    kept = [place for place, column in enumerate(columns) if place < len(names) or column.any()]
    shown = np.stack([columns[place] for place in kept], axis=1)
    inches = max(5.5, 2.5 + 0.36 * len(names))
    return Plot(
        file="confusion.png",
        size=(inches + 1.2, inches),
        draw=lambda figure: draw_matrix(
            figure, shown, names, [headings[place] for place in kept], left="true", below="predicted", title=title
        ),
        title="Confusion matrix",
        alt=f"Confusion matrix of {len(names)} classes; of {len(labels)} classes, {right} of {counts.sum()} {what} lie "
        "on the diagonal.",
    )


def _mistakes(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Mistakes that each class takes part in, int64 [classes]: missed, or predicted wrongly."""
    right = np.diagonal(counts)
    found: NDArray[np.int64] = counts.sum(axis=1) + counts[:, :-1].sum(axis=0) - 2 * right
    return found


def draw_matrix(
    figure: Figure,
    counts: NDArray[np.int64],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    left: str,
    below: str,
    title: str,
) -> None:
    """Draw a confusion matrix, int64 [rows, columns].

    Colours are shares of a row on a logarithmic scale, so that the few wrong predictions are visible.
    """
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes = figure.subplots()
    image = axes.imshow(np.ma.masked_where(counts == 0, shares), cmap="Blues", norm=LogNorm(1e-4, 1), aspect="equal")
    for row, column in np.argwhere(counts):
        colour = "white" if shares[row, column] > 0.03 else "black"
        axes.text(column, row, _count(counts[row, column]), ha="center", va="center", color=colour, fontsize=7)
    axes.set_xticks(range(len(columns)), [_shown(column) for column in columns])
    axes.set_yticks(range(len(rows)), [_shown(row) for row in rows])
    for label in axes.get_xticklabels():
        if len(label.get_text()) > 2:
            label.set(rotation=45, ha="right", rotation_mode="anchor")
    axes.set_xlabel(below)
    axes.set_ylabel(left)
    axes.set_title(title, fontsize=10)
    figure.colorbar(image, ax=axes, shrink=0.7, label="share of the row", format="{x:g}")


def _count(count: int) -> str:
    """The count in at most five characters, as cells have room for: 9999, 12.3k, 456k, 7.8M."""
    if count < 10_000:
        return str(count)
    size, unit = next((size, unit) for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")) if count >= size)
    return f"{count / size:.{1 if count < 100 * size else 0}f}{unit}"


def _shown(name: str) -> str:
    """A class's name that fits beside a plot."""
    shown = printable(name)
    return shown if len(shown) <= _MOST_CHARACTERS else f"{shown[: _MOST_CHARACTERS - 1]}…"


def contact_sheet(file: str, thumbnails: Sequence[Thumbnail], title: str, alt: str) -> Plot:
    """Thumbnails in rows, each below its title."""
    rows = -(-len(thumbnails) // _THUMBNAILS_PER_ROW)
    return Plot(
        file=file,
        size=(12, 0.6 + 2.55 * rows),
        draw=lambda figure: _draw_thumbnails(figure, thumbnails, rows, title),
        title=title,
        alt=alt,
    )


def _draw_thumbnails(figure: Figure, thumbnails: Sequence[Thumbnail], rows: int, title: str) -> None:
    panels = figure.subplots(rows, _THUMBNAILS_PER_ROW, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    for axes, thumbnail in zip(panels, thumbnails, strict=False):
        axes.imshow(thumbnail.pixels)
        outlines = ((thumbnail.true_outline, _TRUE_OUTLINE), (thumbnail.found_outline, _FOUND_OUTLINE))
        for outline, colour in outlines:
            if outline is not None:
                axes.add_patch(Polygon(outline, fill=False, edgecolor=colour, linewidth=1.2))
        height, width = thumbnail.pixels.shape[:2]
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
        axes.set_title(thumbnail.title, fontsize=7.5)
    figure.suptitle(title, fontsize=11)


def shorten_name(name: str) -> str:
    """A file name that fits above a thumbnail. It keeps the end, which differs between files."""
    shown = printable(name)
    return shown if len(shown) <= 28 else f"…{shown[-27:]}"
