"""The pictures of a report, as all tasks have them. matplotlib draws them: `pip install 'shardline[evaluate]'`."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from numpy.typing import NDArray

from shardline.training.evaluation.calibration import CalibrationFigures
from shardline.training.evaluation.worst import Tile

COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")  # Paul Tol's, told apart by everybody
GREY, PALE = "#555555", "#cccccc"
_LINES = ("-", "--", ":", "-.")
_TRUE, _FOUND = "#00dd55", "#ff3355"
_STYLE: dict[str, Any] = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
_ACROSS = 4  # tiles in a row
_DPI = 120
_MOST_NUMBERS = 30  # rows of a matrix whose numbers can be read
_MOST_NAMES = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A picture to be drawn: its file's name, its size in inches, and for the page what it is and what it shows."""

    file: str
    size: tuple[float, float]
    draw: Callable[[Figure], None]
    title: str
    alt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A share with its interval, each 0 to 1; None where nothing is known."""

    name: str
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    name: str
    across: Sequence[float]
    up: Sequence[float]


def draw_all(drawings: Iterable[Drawing], folder: Path) -> list[Path]:
    """Draw into a folder that exists; the files.

    Raises:
        OSError: a file cannot be written.
    """
    return [_save(folder / each.file, each.size, each.draw) for each in drawings]


def _save(path: Path, size: tuple[float, float], draw: Callable[[Figure], None]) -> Path:
    with matplotlib.style.context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        figure.savefig(path, dpi=_DPI)
    return path


def draw_estimates(axes: Any, estimates: Sequence[Estimate], colour: str = COLOURS[0], shift: float = 0.0) -> None:
    """In percent, one above each place on the axis; `shift` moves them aside, so that others fit in beside."""
    known = [each for each in estimates if each.value is not None]
    values = np.array([each.value for each in known], float)
    reach = [values - [each.low for each in known], np.array([each.high for each in known], float) - values]
    places = [number + shift for number, each in enumerate(estimates) if each.value is not None]
    axes.errorbar(
        places, 100 * values, 100 * np.maximum(reach, 0), fmt="o", color=colour, ecolor=GREY, capsize=4, linewidth=1
    )
    axes.set_xticks(range(len(estimates)), [each.name for each in estimates], fontsize=8)
    axes.set_xlim(-0.6, len(estimates) - 0.4)
    axes.grid(axis="y", color=PALE, linewidth=0.5)


def draw_reliability(
    figure: Figure, calibration: CalibrationFigures, *, what: str, right: str, threshold: float | None = None
) -> None:
    """The reliability diagram above, how many there are at each score below.

    Args:
        what: is scored, such as "plates".
        right: what the share of them counts, such as "read fully right".
    """
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    known = [each for each in calibration.bins if each.mean_score is not None and each.share_right is not None]
    upper.plot((0, 1), (0, 1), color=PALE, linewidth=1)
    upper.bar(
        [each.low for each in known],
        [each.share_right or 0 for each in known],
        [each.high - each.low for each in known],
        align="edge",
        color=COLOURS[0],
        alpha=0.35,
        edgecolor="white",
    )
    upper.plot([each.mean_score or 0 for each in known], [each.share_right or 0 for each in known], "o-", color=GREY)
    error = "" if calibration.error is None else f": expected calibration error {calibration.error:.3f}"
    upper.set_title(f"Scores of {what}{error}", fontsize=10)
    upper.set_ylabel(f"share {right}")
    upper.set_ylim(0, 1.02)
    lower.bar(
        [each.low for each in calibration.bins],
        [each.count for each in calibration.bins],
        [each.high - each.low for each in calibration.bins],
        align="edge",
        color=GREY,
        edgecolor="white",
    )
    lower.set_ylabel(what)
    lower.set_xlabel("score" if threshold is None else f"score (dashed: the threshold, {threshold:g})")
    lower.set_xlim(0, 1)
    for axes in (upper, lower) if threshold is not None else ():
        axes.axvline(threshold, color=COLOURS[1], linestyle="--", linewidth=1)


def draw_curves(axes: Any, curves: Sequence[Curve], legend: str, columns: int = 1, place: str = "lower left") -> None:
    """Curves in a square from 0 to 1, told apart by colour and line."""
    for number, each in enumerate(curves):
        style = _LINES[number // len(COLOURS) % len(_LINES)]
        axes.plot(each.across, each.up, style, color=COLOURS[number % len(COLOURS)], label=each.name)
    axes.set_xlim(0, 1.01)
    axes.set_ylim(0, 1.01)
    if axes.lines:
        axes.legend(
            loc=place, fontsize=7.5, edgecolor="none", framealpha=0.85, title=legend, title_fontsize=7.5, ncols=columns
        )


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
    """Colours are shares of a row, in logarithm: the few that are wrong are what there is to see."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes = figure.subplots()
    image = axes.imshow(np.ma.masked_where(counts == 0, shares), cmap="Blues", norm=LogNorm(1e-4, 1), aspect="equal")
    for row, column in np.argwhere(counts) if len(rows) <= _MOST_NUMBERS else ():
        colour = "white" if shares[row, column] > 0.03 else "black"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=7)
    if len(rows) <= _MOST_NAMES:
        axes.set_xticks(range(len(columns)), columns)
        axes.set_yticks(range(len(rows)), rows)
        for label in axes.get_xticklabels():
            if len(label.get_text()) > 2:
                label.set(rotation=45, ha="right", rotation_mode="anchor")
    axes.set_xlabel(below)
    axes.set_ylabel(left)
    axes.set_title(title, fontsize=10)
    figure.colorbar(image, ax=axes, shrink=0.7, label="share of the row")


def contact_sheet(file: str, tiles: Sequence[Tile], title: str, alt: str) -> Drawing:
    """Tiles in rows, each below its title."""
    rows = -(-len(tiles) // _ACROSS)
    return Drawing(
        file=file,
        size=(12, 0.6 + 2.55 * rows),
        draw=lambda figure: _draw_tiles(figure, tiles, rows, title),
        title=title,
        alt=alt,
    )


def _draw_tiles(figure: Figure, tiles: Sequence[Tile], rows: int, title: str) -> None:
    panels = figure.subplots(rows, _ACROSS, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    for axes, tile in zip(panels, tiles, strict=False):
        axes.imshow(tile.pixels)
        for outline, colour in ((tile.true_outline, _TRUE), (tile.found_outline, _FOUND)):
            if outline is not None:
                axes.add_patch(Polygon(outline, fill=False, edgecolor=colour, linewidth=1.2))
        height, width = tile.pixels.shape[:2]
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
        axes.set_title(tile.title, fontsize=7.5)
    figure.suptitle(title, fontsize=11)


def short(name: str) -> str:
    """A file's name that fits over a tile: its end tells it from others."""
    return name if len(name) <= 28 else f"…{name[-27:]}"
