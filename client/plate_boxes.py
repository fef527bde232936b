"""License plates as text for a terminal: each in a box, its rows as on the plate, and what is known of it beside."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from shardline.client.plates import Plate
from shardline.client.style import Style, printable

_UNREAD = {"sub_text": "???", "main_text": "????"}
_NAMES = {"sub_text": "small group", "main_text": "main group"}
_MOST_CHARACTERS = 12  # in one row: a server may say anything
_MARGIN = "  "


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signs:
    """What lines are drawn with, and signs that ASCII has not."""

    top: tuple[str, str]  # left, right
    bottom: tuple[str, str]
    across: str
    down: str
    times: str
    degrees: str


_UNICODE = _Signs(top=("┌", "┐"), bottom=("└", "┘"), across="─", down="│", times="×", degrees="°")
_ASCII = _Signs(top=("+", "+"), bottom=("+", "+"), across="-", down="|", times="x", degrees=" degrees")


def draw_plates(plates: Sequence[Plate], style: Style) -> list[str]:
    """Lines for one picture's plates; one plain line where there is none."""
    if not plates:
        return [f"{_MARGIN}no plate"]
    return [line for plate in plates for line in _draw_plate(plate, style)]


def summary(pictures: int, plates: Sequence[Plate]) -> str:
    """The last line, of many pictures."""
    unread = sum(not plate.whole for plate in plates)
    return ", ".join((_count(pictures, "picture"), _count(len(plates), "plate"), f"{unread} unread"))


def _draw_plate(plate: Plate, style: Style) -> list[str]:
    signs = _UNICODE if style.blocks else _ASCII
    rows = _rows(plate)
    width = max(map(len, rows)) + 4
    dye = style.bold if plate.whole else style.warning
    box = [
        signs.top[0] + signs.across * width + signs.top[1],
        *(f"{signs.down}{_dyed(row.center(width), dye)}{signs.down}" for row in rows),
        signs.bottom[0] + signs.across * width + signs.bottom[1],
    ]
    blank = " " * (width + 2)
    beside = ["", *_facts(plate, style, signs)]
    lines = zip_longest(box, beside, fillvalue="")
    return [f"{_MARGIN}{drawn or blank}{_MARGIN}{fact}".rstrip() for drawn, fact in lines]


def _rows(plate: Plate) -> list[str]:
    """As on the plate: one row, or the small group above the large one, whose characters stand apart."""
    small, main = _shown(plate.sub_text, "sub_text"), _shown(plate.main_text, "main_text")
    if plate.kind == "long":
        return [f"{' '.join(small)}   {' '.join(main)}"]
    return [small, "  ".join(main)]


def _shown(text: str | None, part: str) -> str:
    return printable(text)[:_MOST_CHARACTERS] if text else _UNREAD[part]


def _dyed(row: str, dye: Callable[[str], str]) -> str:
    """The text alone: colour on blanks would underline or fill them in some terminals."""
    text = row.strip()
    return row.replace(text, dye(text), 1)


def _facts(plate: Plate, style: Style, signs: _Signs) -> list[str]:
    """Type and score; place, size and angle; what is missing."""
    x, y = plate.center
    place = f"at {x:.0f}, {y:.0f}"
    size = f"{plate.width:.0f} {signs.times} {plate.height:.0f} pixels"
    facts = [
        f"{plate.kind}  {style.bold(f'{plate.score:.2%}')}",
        style.faint(f"{place}  {size}  {_angle(plate.angle)}{signs.degrees}"),
    ]
    if not plate.whole:
        facts.append(style.warning(f"not read: {_missing(plate)}"))
    return facts


def _missing(plate: Plate) -> str:
    """The server's own words, else the groups that have no text."""
    said = plate.missing or tuple(name for name in _NAMES if getattr(plate, name) is None)
    return ", ".join(_NAMES.get(name, printable(name)[:40].replace("_", " ")) for name in said)


def _angle(degrees: float) -> str:
    return f"{degrees:.1f}" if round(degrees, 1) else "0.0"  # never -0.0


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
