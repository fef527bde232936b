"""License plates of a reply as boxes of characters for a terminal, and as frames on the picture."""

from collections.abc import Callable, Sequence
from itertools import zip_longest

from shardline.client.canvas import Canvas, Colour
from shardline.client.plates import Plate, known_text
from shardline.client.terminal import TerminalStyle
from shardline.wire.text import printable

_READ, _UNREAD_COLOUR = (0, 200, 80), (255, 140, 0)
_GROUP_NAMES = {"sub_text": "small group", "main_text": "main group"}
_ROW_CHARACTERS = 12  # of a plate's row: a server may send any text
_MOST_GROUPS = 4
_ONE_ROW = 2.8  # width over height from which a plate of an unknown type has one row
_MARGIN = "  "

# corners (upper left and right, lower left and right), lines across and down, and two signs that ASCII lacks
_UNICODE = ("┌", "┐", "└", "┘", "─", "│", "×", "°")
_ASCII = ("+", "+", "+", "+", "-", "|", "x", " degrees")


def plate_lines(plates: Sequence[Plate], style: TerminalStyle) -> list[str]:
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
    """Text as on the plate: one row, or the last group below the others, with its characters apart."""
    *upper, last = [printable(text)[:_ROW_CHARACTERS] for text in plate.written.values()][:_MOST_GROUPS] or ["?"]
    one_row = plate.kind == "long" or (plate.kind != "regular" and plate.width > _ONE_ROW * plate.height)
    if one_row or not upper:
        return ["   ".join(" ".join(text) for text in (*upper, last))]
    return ["  ".join(upper), "  ".join(last)]


def _coloured(row: str, colour: Callable[[str], str]) -> str:
    """Colour the text alone: coloured blanks are underlined or filled in some terminals."""
    text = row.strip()
    return row.replace(text, colour(text), 1)


def _plate_facts(plate: Plate, style: TerminalStyle, times: str, degrees: str) -> list[str]:
    """Type and score; position, size and angle; groups that were not read; the known plate; other readings."""
    x, y = plate.center
    position = f"at {x:.0f}, {y:.0f}"
    size = f"{plate.width:.0f} {times} {plate.height:.0f} pixels"
    facts = [
        f"{plate.kind}  {style.bold(f'{plate.score:.2%}')}",
        style.faint(f"{position}  {size}  {_angle(plate.angle)}{degrees}"),
    ]
    if not plate.whole:
        facts.append(style.warning(f"not read: {_unread_groups(plate)}"))
    facts += _known_facts(plate, style)
    if style.details:
        facts += [style.faint(line) for line in _readings(plate)]
    return facts


def _known_facts(plate: Plate, style: TerminalStyle) -> list[str]:
    """The known plate that the text stands for; nothing where no list of known plates was given."""
    text = known_text(plate.reported)
    if text is None:
        return []
    return [style.bold(text) if plate.reported.get("known") else style.warning(text)]


def _readings(plate: Plate) -> list[str]:
    """The candidates with their probabilities, and the characters with their scores."""
    if not plate.candidates and not plate.characters:
        return ["the server reports no candidates"]
    candidates = [f"{printable(item.text)[:24]:<10} {item.probability:>7.2%}" for item in plate.candidates]
    characters = " ".join(f"{printable(name or '?')[:1]} {score:.0%}" for name, score in plate.characters)
    return [*candidates, *([characters] if characters else [])]


def _unread_groups(plate: Plate) -> str:
    """The groups that the server reports as missing, else those without a text."""
    missing = plate.missing or tuple(name for name, text in plate.groups.items() if text is None)
    return ", ".join(_GROUP_NAMES.get(name, printable(name)[:40].replace("_", " ")) for name in missing)


def _angle(degrees: float) -> str:
    return f"{degrees:.1f}" if round(degrees, 1) else "0.0"  # never -0.0


def mark_plates(canvas: Canvas, plates: Sequence[Plate]) -> None:
    """Draw each plate's corners as a frame, green where all of it was read, and its text and score above."""
    for plate in reversed(plates):  # the highest score on top
        colour: Colour = _READ if plate.whole else _UNREAD_COLOUR
        canvas.frame(plate.quad, plate.center, colour)
        (xs, ys), out = zip(*plate.quad, strict=True), canvas.line_px
        box = min(xs), min(ys), max(xs), max(ys)
        canvas.label(box, f"{printable(plate.text)}  {plate.score:.0%}", colour, outside=out)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
