"""The pictures of a report on plates."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from shardline.training.evaluation.plates.confusion import CHARACTERS
from shardline.training.evaluation.plates.evaluate import BoxFigures, Report
from shardline.training.evaluation.plates.misses import Miss
from shardline.training.evaluation.plates.precision import RECALLS, ClassFigures
from shardline.training.evaluation.plates.readings import ReadingFigures
from shardline.training.evaluation.plots import (
    Curve,
    Drawing,
    Estimate,
    contact_sheet,
    draw_curves,
    draw_estimates,
    draw_matrix,
    draw_reliability,
    short,
)
from shardline.training.evaluation.share import Share
from shardline.training.evaluation.worst import Tile

_TITLES = {
    "width": "width in the network's input",
    "angle": "rotation",
    "type": "type",
    "blur": "blur of the picture (sigma)",
    "smear": "smear of the picture",
}


def drawings(report: Report, misses: Sequence[Miss]) -> list[Drawing]:
    """Of the first side's figures, and of the misses."""
    side = report.sides[0]
    drawn = [
        Drawing(
            file="readings.png",
            size=(11, 6.5),
            draw=lambda figure: _draw_readings(figure, side.readings),
            title="Plates read fully right",
            alt=f"Share of plates read fully right, by {', '.join(_TITLES.values())}, with 95 % intervals; "
            f"in all {_percent(side.readings.all)}.",
        )
    ]
    if side.boxes is not None:
        drawn += _drawings_of_boxes(side.boxes, report.threshold)
    drawn.append(
        Drawing(
            file="calibration.png",
            size=(5.5, 6),
            draw=lambda figure: draw_reliability(
                figure, side.calibration, what="plates", right="read fully right", threshold=report.threshold
            ),
            title="Calibration of scores",
            alt=f"Reliability diagram: the share of plates read fully right at each score, of {side.calibration.count} "
            "plates.",
        )
    )
    if misses:
        title = "The widest plates that were not read; drawn in green, found in red"
        alt = f"Contact sheet of {len(misses)} parts of pictures, each with what is on the plate and what was read."
        drawn.append(contact_sheet("misses.png", [_tile(miss) for miss in misses], title, alt))
    return drawn


def _drawings_of_boxes(boxes: BoxFigures, threshold: float) -> list[Drawing]:
    counts = np.array(boxes.confusion)
    return [
        Drawing(
            file="precision_recall.png",
            size=(12, 4.4),
            draw=lambda figure: _draw_curves(figure, boxes),
            title="Precision and recall of boxes",
            alt="Precision against recall at IoU 0.5 for each class of boards, groups and characters.",
        ),
        Drawing(
            file="confusion.png",
            size=(8, 7.4),
            draw=lambda figure: draw_matrix(
                figure,
                counts,
                [*CHARACTERS, "nothing"],
                [*CHARACTERS, "missed"],
                left="drawn",
                below="found",
                title=f"Characters at IoU 0.5 and threshold {threshold:g}: drawn and found",
            ),
            title="Characters taken for others",
            alt=f"Confusion matrix of characters: {np.trace(counts)} of {counts.sum()} lie on its diagonal.",
        ),
    ]


def _draw_readings(figure: Figure, readings: ReadingFigures) -> None:
    """A panel for each way to group plates."""
    shown = {_TITLES[name]: readings.by[name] for name in _TITLES if readings.by[name]}
    panels = figure.subplots(2, 3, sharey=True, squeeze=False).ravel()
    for axes, (title, shares) in zip(panels, shown.items(), strict=False):
        draw_estimates(axes, [_estimate(each) for each in shares])
        axes.set_title(title, fontsize=9)
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    lowest = min((each.low or 0 for shares in shown.values() for each in shares), default=0)
    panels[0].set_ylim(10 * math.floor(10 * lowest), 101)
    for axes in (panels[0], panels[3]):
        axes.set_ylabel("read fully right, %")
    figure.suptitle(f"Plates read fully right, with 95 % intervals: {_percent(readings.all)}", fontsize=11)


def _estimate(share: Share) -> Estimate:
    name = f"{share.name.replace(' and more', '+')}\n{share.right}/{share.count}"
    return Estimate(name=name, value=share.share, low=share.low, high=share.high)


def _percent(share: Share) -> str:
    if share.share is None:
        return "none was asked for"
    return f"{share.right} of {share.count}, {100 * share.share:.1f} %"


def _draw_curves(figure: Figure, boxes: BoxFigures) -> None:
    """A panel for plates, groups and characters."""
    kinds: Mapping[str, list[ClassFigures]] = {
        "plates": [each for each in boxes.classes if each.label.endswith("board")],
        "groups": [each for each in boxes.classes if each.label.endswith("_n")],
        "characters": [each for each in boxes.classes if len(each.label) == 1],
    }
    panels: Any = figure.subplots(1, 3, sharex=True, sharey=True)
    for axes, (title, classes) in zip(panels, kinds.items(), strict=True):
        draw_curves(axes, _curves(classes), "AP at IoU 0.5", columns=3 if title == "characters" else 1)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("recall")
    panels[0].set_ylabel("precision")
    value = "none" if boxes.map50 is None else f"{boxes.map50:.4f}"
    figure.suptitle(f"Precision and recall at IoU 0.5: mAP {value}", fontsize=11)


def _curves(classes: Sequence[ClassFigures]) -> list[Curve]:
    return [
        Curve(
            name=f"{each.label.upper() if len(each.label) == 1 else each.label}  {each.ap50:.3f}",
            across=RECALLS,
            up=each.curve,
        )
        for each in classes
        if each.curve is not None
    ]


def _tile(miss: Miss) -> Tile:
    return Tile(
        pixels=miss.pixels,
        title=f"{miss.wanted}\n→ {miss.got}\n{miss.width_px:.0f} px, picture {short(miss.sample)}",
        true_outline=miss.true_outline,
        found_outline=miss.found_outline,
    )
