"""A report as pictures. matplotlib draws them: `pip install 'shardline[evaluate]'`."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from training.evaluation.calibration import CalibrationFigures
from training.evaluation.confusion import CHARACTERS
from training.evaluation.evaluate import BoxFigures, Report
from training.evaluation.misses import Miss
from training.evaluation.precision import RECALLS, ClassFigures
from training.evaluation.readings import ReadingFigures, Share

_COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")  # Paul Tol's, told apart by everybody
_GREY, _PALE = "#555555", "#cccccc"
_TRUE, _FOUND = "#00dd55", "#ff3355"
_STYLE: dict[str, Any] = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
_ACROSS = 4  # misses in a row
_DPI = 120

Draw = Callable[[Figure], None]


def draw_report(report: Report, misses: Sequence[Miss], folder: Path) -> list[Path]:
    """Draw the first side's figures and the misses into a folder that exists; the files.

    Raises:
        OSError: a file cannot be written.
    """
    side = report.sides[0]
    drawings: dict[str, tuple[tuple[float, float], Draw]] = {
        "readings.png": ((11, 6.5), lambda figure: _draw_readings(figure, side.readings)),
        "calibration.png": ((5.5, 6), lambda figure: _draw_calibration(figure, side.calibration, report.threshold)),
    }
    boxes = side.boxes
    if boxes is not None:
        drawings["precision_recall.png"] = ((12, 4.4), lambda figure: _draw_curves(figure, boxes))
        drawings["confusion.png"] = ((8, 7.4), lambda figure: _draw_confusion(figure, boxes, report.threshold))
    if misses:
        rows = -(-len(misses) // _ACROSS)
        drawings["misses.png"] = ((12, 0.6 + 2.55 * rows), lambda figure: _draw_misses(figure, misses, rows))
    return [_save(folder / name, size, draw) for name, (size, draw) in drawings.items()]


def _save(path: Path, size: tuple[float, float], draw: Draw) -> Path:
    with matplotlib.style.context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        figure.savefig(path, dpi=_DPI)
    return path


def _draw_readings(figure: Figure, readings: ReadingFigures) -> None:
    """A panel for each way to group plates."""
    titles = {
        "width": "width in the network's input",
        "angle": "rotation",
        "type": "type",
        "blur": "blur of the picture (sigma)",
        "smear": "smear of the picture",
    }
    shown = {titles[name]: readings.by[name] for name in titles if readings.by[name]}
    panels = figure.subplots(2, 3, sharey=True, squeeze=False).ravel()
    for axes, (title, shares) in zip(panels, shown.items(), strict=False):
        _draw_shares(axes, shares)
        axes.set_title(title, fontsize=9)
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    lowest = min((each.low or 0 for shares in shown.values() for each in shares), default=0)
    panels[0].set_ylim(10 * math.floor(10 * lowest), 101)
    for axes in (panels[0], panels[3]):
        axes.set_ylabel("read fully right, %")
    figure.suptitle(f"Plates read fully right, with 95 % intervals: {_percent(readings.all)}", fontsize=11)


def _draw_shares(axes: Any, shares: Sequence[Share]) -> None:
    places = range(len(shares))
    heights = [100 * (each.share or 0) for each in shares]
    reach = [
        [100 * ((each.share or 0) - (each.low or 0)) for each in shares],
        [100 * ((each.high or 0) - (each.share or 0)) for each in shares],
    ]
    axes.errorbar(
        places, heights, np.maximum(reach, 0), fmt="o", color=_COLOURS[0], ecolor=_GREY, capsize=4, linewidth=1
    )
    names = [f"{each.name.replace(' and more', '+')}\n{each.right}/{each.plates}" for each in shares]
    axes.set_xticks(places, names, fontsize=8)
    axes.set_xlim(-0.6, len(shares) - 0.4)
    axes.grid(axis="y", color=_PALE, linewidth=0.5)


def _percent(share: Share) -> str:
    if share.share is None:
        return "none was asked for"
    return f"{share.right} of {share.plates}, {100 * share.share:.1f} %"


def _draw_calibration(figure: Figure, calibration: CalibrationFigures, threshold: float) -> None:
    """The reliability diagram above, how many plates there are at each score below."""
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    known = [each for each in calibration.bins if each.mean_score is not None and each.share_right is not None]
    upper.plot((0, 1), (0, 1), color=_PALE, linewidth=1)
    upper.bar(
        [each.low for each in known],
        [each.share_right or 0 for each in known],
        [each.high - each.low for each in known],
        align="edge",
        color=_COLOURS[0],
        alpha=0.35,
        edgecolor="white",
    )
    upper.plot([each.mean_score or 0 for each in known], [each.share_right or 0 for each in known], "o-", color=_GREY)
    error = "" if calibration.error is None else f": expected calibration error {calibration.error:.3f}"
    upper.set_title(f"Scores of plates{error}", fontsize=10)
    upper.set_ylabel("share read fully right")
    upper.set_ylim(0, 1.02)
    lower.bar(
        [each.low for each in calibration.bins],
        [each.plates for each in calibration.bins],
        [each.high - each.low for each in calibration.bins],
        align="edge",
        color=_GREY,
        edgecolor="white",
    )
    lower.set_ylabel("plates")
    lower.set_xlabel(f"score (dashed: the threshold, {threshold:g})")
    lower.set_xlim(0, 1)
    for axes in (upper, lower):
        axes.axvline(threshold, color=_COLOURS[1], linestyle="--", linewidth=1)


def _draw_curves(figure: Figure, boxes: BoxFigures) -> None:
    """A panel for plates, groups and characters."""
    kinds: Mapping[str, list[ClassFigures]] = {
        "plates": [each for each in boxes.classes if each.label.endswith("board")],
        "groups": [each for each in boxes.classes if each.label.endswith("_n")],
        "characters": [each for each in boxes.classes if len(each.label) == 1],
    }
    panels = figure.subplots(1, 3, sharex=True, sharey=True)
    for axes, (title, classes) in zip(panels, kinds.items(), strict=True):
        for number, each in enumerate(each for each in classes if each.curve is not None):
            style = ("-", "--", ":")[number // len(_COLOURS)]
            axes.plot(
                RECALLS,
                each.curve,
                style,
                color=_COLOURS[number % len(_COLOURS)],
                label=f"{each.label.upper() if len(each.label) == 1 else each.label}  {each.ap50:.3f}",
            )
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("recall")
        if axes.lines:
            axes.legend(
                loc="lower left", fontsize=7.5, frameon=False, title="AP at IoU 0.5", title_fontsize=7.5,
                ncols=3 if title == "characters" else 1,
            )  # fmt: skip
    panels[0].set_ylabel("precision")
    panels[0].set_xlim(0, 1.01)
    panels[0].set_ylim(0, 1.01)
    value = "none" if boxes.map50 is None else f"{boxes.map50:.4f}"
    figure.suptitle(f"Precision and recall at IoU 0.5: mAP {value}", fontsize=11)


def _draw_confusion(figure: Figure, boxes: BoxFigures, threshold: float) -> None:
    """Colours are shares of a row, in logarithm: the few that are wrong are what there is to see."""
    counts = np.array(boxes.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes = figure.subplots()
    shown = np.ma.masked_where(counts == 0, shares)
    image = axes.imshow(shown, cmap="Blues", norm=LogNorm(1e-4, 1), aspect="equal")
    for row, column in np.argwhere(counts):
        colour = "white" if shares[row, column] > 0.03 else "black"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=7)
    axes.set_xticks(range(len(counts)), [*CHARACTERS, "missed"])
    axes.set_yticks(range(len(counts)), [*CHARACTERS, "nothing"])
    axes.get_xticklabels()[-1].set_rotation(45)
    axes.set_xlabel("found")
    axes.set_ylabel("drawn")
    axes.set_title(f"Characters at IoU 0.5 and threshold {threshold:g}: drawn and found", fontsize=10)
    figure.colorbar(image, ax=axes, shrink=0.7, label="share of the row")


def _draw_misses(figure: Figure, misses: Sequence[Miss], rows: int) -> None:
    panels = figure.subplots(rows, _ACROSS, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    for axes, miss in zip(panels, misses, strict=False):
        axes.imshow(miss.pixels)
        for outline, colour in ((miss.true_outline, _TRUE), (miss.found_outline, _FOUND)):
            if outline is not None:
                axes.add_patch(Polygon(outline, fill=False, edgecolor=colour, linewidth=1.2))
        height, width = miss.pixels.shape[:2]
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
        axes.set_title(
            f"{miss.wanted}\n→ {miss.got}\n{miss.width_px:.0f} px, picture {_short(miss.sample)}", fontsize=7.5
        )
    figure.suptitle("The widest plates that were not read; drawn in green, found in red", fontsize=11)


def _short(name: str) -> str:
    return name if len(name) <= 28 else f"{name[:27]}…"
