"""Replies as text: lines for a terminal, and lines of JSON for other programs."""

import json
from collections.abc import Mapping

from shardline.client.plates import plates_in
from shardline.client.replies import read_prediction
from shardline.client.target import Reply
from shardline.client.terminal import TerminalStyle
from shardline.wire.text import printable


def draw_reply(name: str, reply: Reply, style: TerminalStyle, *, timings: bool = False) -> str:
    """One picture's reply as several lines, without a newline at the end."""
    lines = [style.bold(printable(name))]
    lines += [line for prediction in reply.predictions for line in read_prediction(prediction).lines(style)]
    if timings:
        lines += _draw_timings(reply, style)
    return "\n".join(lines)


def json_line(image: str, reply: Reply, *, timings: bool = False) -> str:
    """One picture's reply as a JSON document in ASCII, which is safe for odd file names and any encoding of stdout.

    `predictions` are the picture's objects: its one class, or all its plates.
    """
    plates = plates_in(reply.predictions)
    predictions = list(reply.predictions) if plates is None else [plate.reported for plate in plates]
    document: dict[str, object] = {"image": image, "predictions": predictions}
    if timings:
        document |= {"timings": reply.timings or {}, "requests": reply.requests}
    return json.dumps(document)


def json_error(image: str, error: str) -> str:
    """One picture's error as a JSON document in ASCII."""
    return json.dumps({"image": image, "error": error})


def _draw_timings(reply: Reply, style: TerminalStyle) -> list[str]:
    stages = {_stage_name(key): value for key, value in (reply.timings or {}).items()}
    rows: Mapping[str, object] = {**stages, "round trip": reply.seconds * 1e3}
    width = max(map(len, rows))
    lines = [f"  {name:<{width}}  {value:>8.1f} ms" for name, value in rows.items() if isinstance(value, int | float)]
    if not stages:
        lines.insert(0, "  the server reports no timings")
    if reply.requests > 1:
        lines.insert(0, f"  sums of {reply.requests} requests; the round trip is the time of them all:")
    return [style.faint(line) for line in lines]


def _stage_name(key: str) -> str:
    return f"stage {key}" if key.isdecimal() else printable(key)
