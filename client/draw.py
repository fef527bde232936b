"""Replies as text: tables, plates and neighbours for a terminal, and lines of JSON for other programs."""

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest

from shardline.client.neighbours import Retrieved, read_neighbours
from shardline.client.plates import Plate, plates_in, read_plates
from shardline.client.target import Reply
from shardline.client.terminal import TerminalStyle, printable, shorten

_BAR_COLUMNS = 24
_LABEL_COLUMNS = 40
_NEIGHBOUR_COLUMNS, _NEIGHBOUR_LABEL_COLUMNS = 48, 24
_UNREAD = {"sub_text": "???", "main_text": "????"}
_GROUP_NAMES = {"sub_text": "small group", "main_text": "main group"}
_ROW_CHARACTERS = 12  # of a plate's row: a server may send any text
_MARGIN = "  "


def draw_reply(name: str, reply: Reply, style: TerminalStyle, *, timings: bool = False) -> str:
    """One picture's reply as several lines, without a newline at the end."""
    lines = [style.bold(printable(name))]
    lines += [line for prediction in reply.predictions for line in _draw_prediction(prediction, style)]
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


def _draw_prediction(prediction: object, style: TerminalStyle) -> list[str]:
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
    """Labels and scores of a classification, highest score first; None if it is another task's prediction."""
    if not isinstance(prediction, dict):
        return None
    top = prediction.get("top") or [prediction]
    if not isinstance(top, list) or not all(isinstance(row, dict) and "label" in row and "score" in row for row in top):
        return None
    return [(shorten(str(row["label"]), _LABEL_COLUMNS), _score(row["score"])) for row in top]


def _score(value: object) -> float | None:
    """A score as a number; KServe's JSON turns NaN into null."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _percent(score: float | None) -> str:
    return f"{'-':>7}" if score is None else f"{score:>7.2%}"


def _bar(score: float | None, style: TerminalStyle) -> str:
    eighths = round(min(1.0, max(0.0, score or 0.0)) * _BAR_COLUMNS * 8)
    if not style.blocks:
        return "#" * (eighths // 8)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def _draw_timings(reply: Reply, style: TerminalStyle) -> list[str]:
    stages = {_stage_name(key): value for key, value in (reply.timings or {}).items()}
    rows: Mapping[str, object] = {**stages, "round trip": reply.seconds * 1e3}
    width = max(map(len, rows))
    lines = [f"  {name:<{width}}  {value:>8.1f} ms" for name, value in rows.items() if isinstance(value, int | float)]
    if reply.requests > 1:
        lines.append(f"  {'requests':<{width}}  {reply.requests:>8}")
    return [style.faint(line) for line in (lines if stages else ["  the server reports no timings", *lines])]


def _stage_name(key: str) -> str:
    return f"stage {key}" if key.isdecimal() else printable(key)


def draw_neighbours(retrieved: Retrieved, style: TerminalStyle) -> list[str]:
    """A retrieval's vote, and below it one line for each neighbour: its label, name and distance."""
    if not retrieved.neighbours:
        return ["  nothing near"]
    labels = [shorten(neighbour.label or "-", _NEIGHBOUR_LABEL_COLUMNS) for neighbour in retrieved.neighbours]
    names = [shorten(neighbour.name, _NEIGHBOUR_COLUMNS) for neighbour in retrieved.neighbours]
    width, name_width, rank_width = max(map(len, labels)), max(map(len, names)), len(str(len(names)))
    vote = "no label near" if retrieved.vote is None else shorten(retrieved.vote, _NEIGHBOUR_LABEL_COLUMNS)
    agreeing = sum(neighbour.label == retrieved.vote for neighbour in retrieved.neighbours)
    share = "" if retrieved.vote is None else f"  {agreeing} of {len(names)}"
    return [
        f"  {style.bold(vote)}{share}",
        *(
            style.faint(f"  {rank:>{rank_width}}  {label:<{width}}  {name:<{name_width}}  {neighbour.distance:.4f}")
            for rank, (label, name, neighbour) in enumerate(zip(labels, names, retrieved.neighbours, strict=True), 1)
        ),
    ]


# corners (upper left and right, lower left and right), lines across and down, and two signs that ASCII lacks
_UNICODE = ("┌", "┐", "└", "┘", "─", "│", "×", "°")
_ASCII = ("+", "+", "+", "+", "-", "|", "x", " degrees")


def draw_plates(plates: Sequence[Plate], style: TerminalStyle) -> list[str]:
    """License plates, each in a box with its facts on the right; one plain line if there is none."""
    if not plates:
        return [f"{_MARGIN}no plate"]
    return [line for plate in plates for line in _draw_plate(plate, style)]


def plates_summary(pictures: int, plates: Sequence[Plate]) -> str:
    """Last line after many pictures: the numbers of pictures, of plates, and of plates that were not read."""
    unread = sum(not plate.whole for plate in plates)
    return ", ".join((_count(pictures, "picture"), _count(len(plates), "plate"), f"{unread} unread"))


def _draw_plate(plate: Plate, style: TerminalStyle) -> list[str]:
    *corners, across, down, times, degrees = _UNICODE if style.blocks else _ASCII
    rows = _plate_rows(plate)
    width = max(map(len, rows)) + 4
    colour = style.bold if plate.whole else style.warning
    box = [
        corners[0] + across * width + corners[1],
        *(f"{down}{_coloured(row.center(width), colour)}{down}" for row in rows),
        corners[2] + across * width + corners[3],
    ]
    blank = " " * (width + 2)
    lines = zip_longest(box, ["", *_plate_facts(plate, style, times, degrees)], fillvalue="")
    return [f"{_MARGIN}{drawn or blank}{_MARGIN}{fact}".rstrip() for drawn, fact in lines]


def _plate_rows(plate: Plate) -> list[str]:
    """Text as on the plate: one row, or the small group above the large one, whose characters stand apart."""
    small, main = _group_text(plate.sub_text, "sub_text"), _group_text(plate.main_text, "main_text")
    if plate.kind == "long":
        return [f"{' '.join(small)}   {' '.join(main)}"]
    return [small, "  ".join(main)]


def _group_text(text: str | None, group: str) -> str:
    return printable(text)[:_ROW_CHARACTERS] if text else _UNREAD[group]


def _coloured(row: str, colour: Callable[[str], str]) -> str:
    """Colour the text alone: coloured blanks are underlined or filled in some terminals."""
    text = row.strip()
    return row.replace(text, colour(text), 1)


def _plate_facts(plate: Plate, style: TerminalStyle, times: str, degrees: str) -> list[str]:
    """Type and score; position, size and angle; the groups that were not read."""
    x, y = plate.center
    position = f"at {x:.0f}, {y:.0f}"
    size = f"{plate.width:.0f} {times} {plate.height:.0f} pixels"
    facts = [
        f"{plate.kind}  {style.bold(f'{plate.score:.2%}')}",
        style.faint(f"{position}  {size}  {_angle(plate.angle)}{degrees}"),
    ]
    if not plate.whole:
        facts.append(style.warning(f"not read: {_unread_groups(plate)}"))
    return facts


def _unread_groups(plate: Plate) -> str:
    """The groups that the server reports as missing, else those without a text."""
    missing = plate.missing or tuple(name for name in _GROUP_NAMES if getattr(plate, name) is None)
    return ", ".join(_GROUP_NAMES.get(name, printable(name)[:40].replace("_", " ")) for name in missing)


def _angle(degrees: float) -> str:
    return f"{degrees:.1f}" if round(degrees, 1) else "0.0"  # never -0.0


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
