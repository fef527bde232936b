"""Replies as text for a terminal: a table per picture, the time of each stage, and how far things are."""

import json
import shutil
import time
from collections.abc import Mapping
from typing import TextIO

from shardline.client.neighbours import draw_neighbours, read_neighbours
from shardline.client.plate_boxes import draw_plates
from shardline.client.plates import plates_in, read_plates
from shardline.client.states import ChainState
from shardline.client.style import Style, printable
from shardline.client.target import Reply

_BAR_COLUMNS = 24
_LABEL_COLUMNS = 40


def draw_reply(name: str, reply: Reply, style: Style, *, timings: bool = False) -> str:
    """One picture's reply, several lines, no newline at the end."""
    parts = [style.bold(printable(name))]
    parts += [line for prediction in reply.predictions for line in _draw_prediction(prediction, style)]
    if timings:
        parts += _draw_timings(reply, style)
    return "\n".join(parts)


def _draw_prediction(prediction: object, style: Style) -> list[str]:
    plates = read_plates(prediction)
    if plates is not None:
        return draw_plates(plates, style)
    retrieved = read_neighbours(prediction)
    if retrieved is not None:
        return draw_neighbours(retrieved, style)
    rows = _class_rows(prediction)
    if rows is None:
        return [f"  {line}" for line in json.dumps(prediction, indent=2).splitlines()]
    width = max(len(label) for label, _ in rows)
    rank_width = len(str(len(rows)))
    lines = (
        f"  {rank:>{rank_width}}  {label:<{width}}  {_percent(score)}  {style.faint(_bar(score, style))}"
        for rank, (label, score) in enumerate(rows, 1)
    )
    return [line.rstrip() for line in lines]


def _class_rows(prediction: object) -> list[tuple[str, float | None]] | None:
    """(label, score) of the best classes, best first; None if this is no classification."""
    if not isinstance(prediction, dict):
        return None
    top = prediction.get("top") or [prediction]
    if not isinstance(top, list) or not all(isinstance(one, dict) and "label" in one and "score" in one for one in top):
        return None
    return [(_short(printable(str(one["label"]))), _score(one["score"])) for one in top]


def _short(label: str) -> str:
    return label if len(label) <= _LABEL_COLUMNS else label[: _LABEL_COLUMNS - 1] + "…"


def _score(value: object) -> float | None:
    """KServe's JSON turns NaN into null."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _percent(score: float | None) -> str:
    return f"{'-':>7}" if score is None else f"{score:>7.2%}"


def _bar(score: float | None, style: Style) -> str:
    eighths = round(min(1.0, max(0.0, score or 0.0)) * _BAR_COLUMNS * 8)
    if not style.blocks:
        return "#" * (eighths // 8)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def _draw_timings(reply: Reply, style: Style) -> list[str]:
    stages = {_stage_name(key): value for key, value in (reply.timings or {}).items()}
    rows: Mapping[str, object] = {**stages, "round trip": reply.seconds * 1e3}
    width = max(map(len, rows))
    lines = [f"  {name:<{width}}  {value:>8.1f} ms" for name, value in rows.items() if isinstance(value, int | float)]
    if reply.requests > 1:
        lines.append(f"  {'requests':<{width}}  {reply.requests:>8}")
    return [style.faint(line) for line in (lines if stages else ["  the server reports no timings", *lines])]


def _stage_name(key: str) -> str:
    return f"stage {key}" if key.isdecimal() else printable(key)


class Progress:
    """A bar on the last line of a terminal, taken away before anything else is written there."""

    def __init__(self, total: int, stream: TextIO) -> None:
        self._total = total
        self._stream = stream
        self._shown = total > 1 and stream.isatty()

    def show(self, done: int) -> None:
        columns = min(40, shutil.get_terminal_size().columns - 20)
        if self._shown and columns > 0:
            filled = columns * done // self._total
            bar = "#" * filled + "." * (columns - filled)
            self._write(f"\r[{bar}] {done}/{self._total}")

    def clear(self) -> None:
        if self._shown:
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


class Waiting:
    """Says what is still waited for: in a terminal on one line that changes, elsewhere one line each time it changes.

    Nothing is shown of a chain that is ready at the first look.
    """

    def __init__(self, chain: str, stream: TextIO) -> None:
        self._chain = chain
        self._stream = stream
        self._terminal = stream.isatty()
        self._since = time.monotonic()
        self._last = ""

    def show(self, state: ChainState) -> None:
        text = printable(state.waiting_for())
        if not text or state.serves:
            return
        if self._terminal:
            line = f"waiting for {self._chain} ({time.monotonic() - self._since:.0f} s): {text}"
            self._stream.write(f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}")
        elif text != self._last:
            self._stream.write(f"waiting for {self._chain}: {text}\n")
        self._last = text
        self._stream.flush()

    def clear(self) -> None:
        if self._terminal and self._last:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


def json_line(image: str, reply: Reply, *, timings: bool = False) -> str:
    """One picture's reply for other programs. `ascii` escapes keep odd file names and any encoding of stdout safe.

    `predictions` are the things that were found in it: its one class, or all its plates.
    """
    plates = plates_in(reply.predictions)
    predictions = list(reply.predictions) if plates is None else [plate.said for plate in plates]
    document: dict[str, object] = {"image": image, "predictions": predictions}
    if timings:
        document |= {"timings": reply.timings or {}, "requests": reply.requests}
    return json.dumps(document)


def json_error(image: str, error: str) -> str:
    return json.dumps({"image": image, "error": error})
