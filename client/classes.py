"""Classifications: labels with scores in a reply, as a table for a terminal and as labels on the picture."""

from collections.abc import Sequence

from shardline.client.canvas import LABEL_COLOUR, Canvas
from shardline.client.terminal import TerminalStyle, bar, percent, shorten

_LABEL_COLUMNS = 40

ClassRow = tuple[str, float | None]
"""Label and score; None for a score that is not a number, such as NaN, which KServe's JSON turns into null."""


def read_classes(prediction: object) -> list[ClassRow] | None:
    """Read labels and scores of one picture, highest score first; None if it is another task's prediction."""
    if not isinstance(prediction, dict):
        return None
    top = prediction.get("top") or [prediction]
    if not isinstance(top, list) or not all(isinstance(row, dict) and "label" in row and "score" in row for row in top):
        return None
    return [(str(row["label"]), _score(row["score"])) for row in top]


def class_lines(rows: Sequence[ClassRow], style: TerminalStyle) -> list[str]:
    """A numbered line for each class: its label, its score, and a bar."""
    labels = [shorten(label, _LABEL_COLUMNS) for label, _ in rows]
    width, rank_width = max(map(len, labels)), len(str(len(rows)))
    lines = (
        f"  {rank:>{rank_width}}  {label:<{width}}  {percent(score)}  {style.faint(bar(score, style))}"
        for rank, (label, (_, score)) in enumerate(zip(labels, rows, strict=True), 1)
    )
    return [line.rstrip() for line in lines]


def mark_classes(canvas: Canvas, rows: Sequence[ClassRow]) -> None:
    """Write the labels, highest score first, into the picture's upper left corner."""
    lines = [shorten(label, _LABEL_COLUMNS) + ("" if score is None else f"  {score:.0%}") for label, score in rows]
    canvas.write((0, 0), "\n".join(lines), LABEL_COLOUR)


def _score(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
