"""Table of the kinds of replies: how each is read, printed, drawn on its picture, and moved to another's pixels."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from shardline.client.boxes import box_lines, mark_boxes, move_boxes, read_boxes
from shardline.client.canvas import Canvas
from shardline.client.classes import class_lines, mark_classes, read_classes
from shardline.client.masks import mark_segmentation, read_segmentation, share_lines
from shardline.client.neighbours import mark_neighbours, neighbour_lines, read_neighbours
from shardline.client.plate_output import mark_plates, plate_lines
from shardline.client.plates import move, read_plates
from shardline.client.tensors import read_tensors, tensor_lines
from shardline.client.terminal import TerminalStyle
from shardline.wire.errors import UsageError
from shardline.wire.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyKind:
    """Functions for the predictions of one task.

    Attributes:
        name: of the objects, for messages.
        read: the prediction as a value, or None if it is of another kind; the other functions take this value.
        lines: the lines to print.
        mark: draws the value on a canvas; None where there is nothing to draw.
        move: the prediction in pixels of the picture that a view is a view of; None where it has no positions.
        has_positions: a preview in the terminal shows something, since the picture has boxes or a mask.
    """

    name: str
    read: Callable[[Any], Any]
    lines: Callable[[Any, TerminalStyle], Sequence[str]]
    mark: Callable[[Canvas, Any], None] | None = None
    move: Callable[[Any, View], Any] | None = None
    has_positions: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPrediction:
    """A prediction, its kind, and its value as the kind's functions take it."""

    kind: ReplyKind
    value: Any

    def lines(self, style: TerminalStyle) -> Sequence[str]:
        """The lines to print."""
        return self.kind.lines(self.value, style)

    def mark(self, canvas: Canvas) -> None:
        """Draw the prediction on its picture.

        Raises:
            UsageError: it has nothing to draw.
            PredictorError: it cannot be decoded.
        """
        if self.kind.mark is None:
            raise UsageError(f"--save and --show: {self.kind.name} cannot be drawn on a picture: use --json")
        self.kind.mark(canvas, self.value)


def _json_lines(prediction: object, _: TerminalStyle) -> list[str]:
    return [f"  {line}" for line in json.dumps(prediction, indent=2).splitlines()]


PLATES = ReplyKind(
    name="license plates",
    read=read_plates,
    lines=plate_lines,
    mark=mark_plates,
    move=lambda plates, view: [move(plate, view).reported for plate in plates],
    has_positions=True,
)
OBJECTS = ReplyKind(
    name="objects", read=read_boxes, lines=box_lines, mark=mark_boxes, move=move_boxes, has_positions=True
)
KINDS = (
    PLATES,
    OBJECTS,
    ReplyKind(name="a mask", read=read_segmentation, lines=share_lines, mark=mark_segmentation, has_positions=True),
    ReplyKind(name="neighbours", read=read_neighbours, lines=neighbour_lines, mark=mark_neighbours),
    ReplyKind(name="raw tensors", read=read_tensors, lines=tensor_lines),
    ReplyKind(name="classes", read=read_classes, lines=class_lines, mark=mark_classes),
)
_OTHER = ReplyKind(name="a reply of an unknown task", read=lambda prediction: prediction, lines=_json_lines)


def read_prediction(prediction: object) -> ReadPrediction:
    """Read a prediction as the first kind that it is of, else as JSON of an unknown task."""
    for kind in KINDS:
        value = kind.read(prediction)
        if value is not None:
            return ReadPrediction(kind=kind, value=value)
    return ReadPrediction(kind=_OTHER, value=prediction)


def moved(prediction: object, view: View) -> Any:
    """A prediction in pixels of the picture that `view` is a view of; unchanged where it has no positions."""
    read = read_prediction(prediction)
    return prediction if read.kind.move is None else read.kind.move(read.value, view)
