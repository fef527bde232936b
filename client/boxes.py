"""Detected objects in a reply: boxes with labels and scores, as a table for a terminal and as frames on the picture."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shardline.client.canvas import Box, Canvas, class_colours
from shardline.client.terminal import TerminalStyle, bar, percent, shorten
from shardline.wire.boxes import iou
from shardline.wire.view import View

_LABEL_COLUMNS = 32
_DECIMALS = 2  # of a pixel: more decimals of a moved position would only look exact
_SAME_OBJECT_IOU = 0.5  # boxes of one class that overlap more are of one object


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectedObject:
    """One object: its class, score from 0 to 1, and box in pixels of an upright picture; `reported` is the JSON."""

    label: str
    index: int
    score: float
    box: Box
    reported: Mapping[str, Any]


def read_boxes(prediction: object) -> tuple[DetectedObject, ...] | None:
    """Read one picture's objects, in the reply's order; None if it is another task's prediction."""
    reported = prediction.get("boxes") if isinstance(prediction, dict) else None
    if not isinstance(reported, list):
        return None
    found = [_read(item) for item in reported]
    return None if None in found else tuple(item for item in found if item)


def move_boxes(found: Sequence[DetectedObject], view: View) -> dict[str, Any]:
    """Prediction with the boxes in pixels of the picture that `view` is a view of."""
    return {"boxes": [move_object(item, view).reported for item in found]}


def move_object(item: DetectedObject, view: View) -> DetectedObject:
    """Move an object from the pixels of the picture that was sent to those of the picture that `view` is a view of."""
    corners = view.to_picture([item.box[:2], item.box[2:]]).ravel()
    left, top, right, bottom = (round(float(value), _DECIMALS) for value in corners)
    return DetectedObject(
        label=item.label,
        index=item.index,
        score=item.score,
        box=(left, top, right, bottom),
        reported={**item.reported, "box": [left, top, right, bottom]},
    )


def merge_boxes(found: Sequence[DetectedObject]) -> list[DetectedObject]:
    """Non-maximum suppression (NMS) by class: of boxes that overlap by more than half, keep the highest score."""
    kept: list[DetectedObject] = []
    for item in sorted(found, key=lambda item: -item.score):
        rivals = np.array([other.box for other in kept if other.index == item.index], np.float64).reshape(-1, 4)
        if not (iou(np.array([item.box], np.float64), rivals) > _SAME_OBJECT_IOU).any():
            kept.append(item)
    return kept


def box_lines(found: Sequence[DetectedObject], style: TerminalStyle) -> list[str]:
    """A heading, and a numbered line for each object: label, score, bar, and the box's left, top, right and bottom."""
    if not found:
        return ["  no object"]
    colours = class_colours(item.index for item in found)
    labels = [shorten(item.label, _LABEL_COLUMNS) for item in found]
    width, rank_width = max(5, *map(len, labels)), len(str(len(found)))
    corners = [[f"{value:.0f}" for value in item.box] for item in found]
    names = ("left", "top", "right", "bottom")
    widths = [max(len(name), *(len(row[side]) for row in corners)) for side, name in enumerate(names)]

    def columns(values: Sequence[str]) -> str:
        return "  ".join(f"{value:>{side}}" for value, side in zip(values, widths, strict=True))

    # a bar of fixed width, since the positions stand behind it
    blank = " " * (len(style.swatch(colours[found[0].index])) and 2)
    heading = f"  {'':>{rank_width}}  {blank}{'label':<{width}}  {'score':>7}  {columns(names)}"
    return [
        style.faint(heading.rstrip()),
        *(
            f"  {rank:>{rank_width}}  {style.swatch(colours[item.index])}{label:<{width}}  {percent(item.score)}  "
            f"{columns(row)}  {style.faint(bar(item.score, style))}".rstrip()
            for rank, (item, label, row) in enumerate(zip(found, labels, corners, strict=True), 1)
        ),
    ]


def mark_boxes(canvas: Canvas, found: Sequence[DetectedObject]) -> None:
    """Draw each object's box in the colour of its class, and write its label and score beside it."""
    colours = class_colours(item.index for item in found)
    ranked = sorted(found, key=lambda item: item.score)  # the highest score on top
    for item in ranked:
        canvas.box(item.box, colours[item.index])
    for item in reversed(ranked):
        canvas.label(item.box, f"{item.label}  {item.score:.0%}", colours[item.index])


def _read(reported: object) -> DetectedObject | None:
    if not isinstance(reported, dict) or not isinstance(reported.get("label"), str):
        return None
    box, score, index = reported.get("box"), reported.get("score"), reported.get("index")
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, [*box, score])):
        return None
    if not isinstance(index, int) or isinstance(index, bool):
        return None
    left, top, right, bottom = map(float, box)
    return DetectedObject(
        label=reported["label"], index=index, score=float(reported["score"]), box=(left, top, right, bottom),
        reported=reported,
    )  # fmt: skip


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
