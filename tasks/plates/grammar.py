"""Grammar of license plates: groups of characters, the alphabet of each position, and the types of plates.

A grammar is a small YAML file. The generator draws by it, the detector has its classes, the reader reads by it, and a
reply names its types and groups. `built_in.yaml` is the grammar of the detector that ships; a bundle of a detector for
another one carries the file's text as the option `grammar` of its task. docs/plates.md describes the format.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml

from shardline.wire.errors import BundleError, UsageError

OPTION = "grammar"  # of the task in a bundle: the text of the file

_BUILT_IN = Path(__file__).with_name("built_in.yaml")
_MOST_BYTES = 65_536  # of a file
_MOST_POSITIONS, _MOST_GROUPS, _MOST_TYPES, _MOST_ROWS = 16, 4, 4, 2
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_CODE = re.compile(r"[a-z]")
_CHARACTERS = re.compile(r"[0-9A-Z]+")
_SEPARATOR = re.compile(r"[ ·.-]?")
_COLOUR = re.compile(r"#[0-9a-f]{6}", re.IGNORECASE)
_KEYS = ("name", "alphabets", "groups", "separator", "types", "colours", "fonts")
# other keys of a plate in a reply
_RESERVED = (
    *("type", "board_center_p", "width", "height", "angle", "score", "box", "quad"),
    *("missing", "candidates", "characters", "probability", "known"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AspectRatios:
    """Width / height of a kind of rectangle: the usual one, and the least and most, even seen from the side."""

    least: float
    usual: float
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CharacterGroup:
    """A group of characters that stand together.

    Attributes:
        name: its key in a reply, such as "sub_text".
        code: its letter in the names of classes, such as "s" in "r_s_n".
        alphabets: the characters that may stand at each position.
    """

    name: str
    code: str
    alphabets: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateType:
    """A layout of plates.

    Attributes:
        name: in a reply, such as "long".
        code: its letter in the names of classes.
        rows: the indexes of the groups in each row, from the top.
        aspect: aspect ratios of what is read.
        drawn_aspect: smallest and largest aspect ratio of what is drawn, seen from the front.
    """

    name: str
    code: str
    rows: tuple[tuple[int, ...], ...]
    aspect: AspectRatios
    drawn_aspect: tuple[float, float]


Colour = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class PlateGrammar:
    """A checked grammar.

    Attributes:
        groups: in reading order.
        separator: between two groups where a text is written in one line.
        colours: pairs of background and ink to draw with; empty: any.
        fonts: families to draw with; empty: any.
        source: the text of the file.
    """

    name: str
    groups: tuple[CharacterGroup, ...]
    separator: str
    types: tuple[PlateType, ...]
    colours: tuple[tuple[Colour, Colour], ...]
    fonts: tuple[str, ...]
    source: str = field(compare=False)

    @cached_property
    def alphabets(self) -> tuple[str, ...]:
        """The characters that may stand at each position of a text, all groups in a row."""
        return tuple(alphabet for group in self.groups for alphabet in group.alphabets)

    @cached_property
    def characters(self) -> str:
        """All characters of plates, digits first: the order of the detector's classes."""
        return "".join(sorted(set("".join(self.alphabets))))

    @cached_property
    def columns(self) -> tuple[slice, ...]:
        """Positions of each group in a text."""
        ends = [sum(len(group.alphabets) for group in self.groups[: index + 1]) for index in range(len(self.groups))]
        return tuple(slice(start, end) for start, end in zip((0, *ends), ends, strict=False))

    @cached_property
    def boards(self) -> tuple[str, ...]:
        """Class names of boards, one for each type: r_board."""
        return tuple(board_class(plate_type) for plate_type in self.types)

    @cached_property
    def group_classes(self) -> tuple[str, ...]:
        """Class names of the groups on each type: r_s_n."""
        return tuple(group_class(plate_type, group) for plate_type in self.types for group in self.groups)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """All classes of the detector: boards, groups, characters."""
        return (*self.boards, *self.group_classes, *self.characters.lower())

    def type_named(self, name: str) -> PlateType:
        """The type with this name.

        Raises:
            UsageError: there is none.
        """
        found = next((plate_type for plate_type in self.types if plate_type.name == name), None)
        if found is None:
            names = ", ".join(plate_type.name for plate_type in self.types)
            raise UsageError(f"{name!r} is no type of plates of the grammar {self.name}; allowed: {names}")
        return found

    @property
    def is_built_in(self) -> bool:
        return self == built_in()


def board_class(plate_type: PlateType) -> str:
    """Class name of a board: 'r_board' or 'l_board'."""
    return f"{plate_type.code}_board"


def group_class(plate_type: PlateType, group: CharacterGroup) -> str:
    """Class name of a group of characters, such as 'r_s_n': regular, small."""
    return f"{plate_type.code}_{group.code}_n"


@cache
def built_in() -> PlateGrammar:
    """The grammar of the detector that ships."""
    return parse_grammar(_BUILT_IN.read_text(encoding="utf-8"), _BUILT_IN.name)


def read_grammar(path: Path | None) -> PlateGrammar:
    """Read a grammar from its YAML file; None is the built-in one.

    Raises:
        UsageError: the file cannot be read, or is no grammar.
    """
    if path is None:
        return built_in()
    try:
        content = path.read_bytes()
        if len(content) > _MOST_BYTES:
            raise UsageError(f"{path} has {len(content)} bytes: a grammar has {_MOST_BYTES} at most")
        return parse_grammar(content.decode(), str(path))
    except OSError as exc:
        raise UsageError(f"the grammar {path} cannot be read: {exc.strerror or exc}") from exc
    except UnicodeDecodeError as exc:
        raise UsageError(f"the grammar {path} is not UTF-8 text: it is a YAML file") from exc


def option_grammar(options: Mapping[str, object]) -> PlateGrammar:
    """The grammar that a bundle gives the task; without one the built-in one.

    Raises:
        BundleError: it is no grammar.
    """
    text = options.get(OPTION)
    if text is None:
        return built_in()
    try:
        return parse_grammar(str(text), "of the bundle")
    except UsageError as exc:
        raise BundleError(f"{exc}: build the bundle again") from exc


def check_options(options: Mapping[str, object]) -> None:
    """Check the options of a bundle's task.

    Raises:
        BundleError: an option other than `grammar`, or one that is no grammar.
    """
    unknown = sorted(options.keys() - {OPTION})
    if unknown:
        raise BundleError(f"the task plates has no option {', '.join(unknown)}; allowed: {OPTION}")
    option_grammar(options)


@cache
def parse_grammar(text: str, where: str) -> PlateGrammar:
    """Parse the YAML text of a grammar; `where` names it in messages.

    Raises:
        UsageError: it is none.
    """
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as exc:
        reason = " ".join(str(exc).split())
        raise UsageError(f"the grammar {where} is not YAML: {reason[:200]}") from exc
    try:
        return _grammar(document, text)
    except _GrammarError as exc:
        raise UsageError(f"the grammar {where}: {exc}") from None


class _GrammarError(Exception):
    """A rule of grammars that a file breaks: what was found, and what is allowed."""


def _grammar(document: Any, source: str) -> PlateGrammar:
    fields = _fields(document, "the file", _KEYS, required=("name", "alphabets", "groups", "types"))
    alphabets = _alphabets(fields["alphabets"])
    listed = _listed(fields["groups"], "groups", _MOST_GROUPS)
    groups = tuple(_group(group, f"group {number}", alphabets) for number, group in enumerate(listed, 1))
    _once("names of groups", [group.name for group in groups])
    _once("classes of groups", [group.code for group in groups])
    types = tuple(
        _type(found, f"type {number}", [group.name for group in groups])
        for number, found in enumerate(_listed(fields["types"], "types", _MOST_TYPES), 1)
    )
    _once("names of types", [plate_type.name for plate_type in types])
    _once("classes of types", [plate_type.code for plate_type in types])
    positions = sum(len(group.alphabets) for group in groups)
    if positions > _MOST_POSITIONS:
        raise _GrammarError(f"{positions} positions; allowed: {_MOST_POSITIONS} at most")
    colours = _listed(fields.get("colours", []), "colours", 100, fewest=0)
    fonts = _listed(fields.get("fonts", []), "fonts", 1000, fewest=0)
    return PlateGrammar(
        name=_matching(
            fields["name"], "name", re.compile(r"[\w .-]{1,64}"), "1 to 64 letters, digits, spaces, . and -"
        ),
        groups=groups,
        separator=_matching(fields.get("separator", " "), "separator", _SEPARATOR, "a space, ·, . or -, or nothing"),
        types=types,
        colours=tuple(_pair(pair, f"colours {number}") for number, pair in enumerate(colours, 1)),
        fonts=tuple(str(font) for font in fonts),
        source=source,
    )


def _once(what: str, values: Sequence[str]) -> None:
    if len(set(values)) < len(values):
        raise _GrammarError(f"{what} are {', '.join(values)}: each may occur once")


def _alphabets(value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict) or not value:
        raise _GrammarError('alphabets: give a symbol and its characters, such as {"0": "0123456789", "A": "ABCDE"}')
    found = {}
    for symbol, characters in value.items():
        if not isinstance(symbol, str) or len(symbol) != 1:
            raise _GrammarError(f"the alphabet {symbol!r}: a symbol is one character in quotes, such as '0'")
        _matching(characters, f"alphabet {symbol}", _CHARACTERS, "digits and capital letters A to Z in quotes")
        if len(set(characters)) < len(characters):
            raise _GrammarError(f"alphabet {symbol}: {characters!r} has a character twice")
        found[symbol] = characters
    return found


def _group(value: Any, where: str, alphabets: Mapping[str, str]) -> CharacterGroup:
    fields = _fields(value, where, ("name", "class", "positions"), required=("name", "class", "positions"))
    name = _matching(fields["name"], f"{where}: name", _NAME, "small letters, digits and _")
    if name in _RESERVED:
        raise _GrammarError(f"{where}: {name} is another key of a reply; choose a name such as main_text")
    positions = _matching(
        fields["positions"], f"{where}: positions", re.compile(".+"), "symbols of alphabets in quotes"
    )
    unknown = sorted(set(positions) - set(alphabets))
    if unknown:
        raise _GrammarError(f"{where}: {positions!r} has {', '.join(unknown)}; alphabets: {', '.join(alphabets)}")
    code = _matching(fields["class"], f"{where}: class", _CODE, "one small letter")
    return CharacterGroup(name=name, code=code, alphabets=tuple(alphabets[symbol] for symbol in positions))


def _type(value: Any, where: str, groups: Sequence[str]) -> PlateType:
    fields = _fields(value, where, ("name", "class", "rows", "aspect"), required=("name", "class", "rows", "aspect"))
    rows = [
        _listed(row, f"{where}: rows", _MOST_GROUPS) for row in _listed(fields["rows"], f"{where}: rows", _MOST_ROWS)
    ]
    listed = [group for row in rows for group in row]
    if listed != list(groups):
        raise _GrammarError(f"{where}: rows hold {listed}; allowed: all groups in their order, {', '.join(groups)}")
    aspect = _fields(
        fields["aspect"], f"{where}: aspect", ("drawn", "read", "usual"), required=("drawn", "read", "usual")
    )
    drawn, read = (_range(aspect[key], f"{where}: aspect: {key}") for key in ("drawn", "read"))
    [usual] = _numbers([aspect["usual"]], f"{where}: aspect: usual", 1)
    if not read[0] <= drawn[0] <= drawn[1] <= read[1] or not read[0] <= usual <= read[1]:
        raise _GrammarError(
            f"{where}: aspect: drawn {list(drawn)} and usual {usual:g} must lie within read {list(read)}"
        )
    return PlateType(
        name=_matching(fields["name"], f"{where}: name", _NAME, "small letters, digits and _"),
        code=_matching(fields["class"], f"{where}: class", _CODE, "one small letter"),
        rows=tuple(tuple(groups.index(group) for group in row) for row in rows),
        aspect=AspectRatios(least=read[0], usual=usual, most=read[1]),
        drawn_aspect=drawn,
    )


def _fields(value: Any, where: str, allowed: Sequence[str], *, required: Sequence[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _GrammarError(f"{where} is {_shown(value)}; allowed: a mapping with {', '.join(allowed)}")
    unknown = [str(key) for key in value if key not in allowed]
    missing = [key for key in required if key not in value]
    if unknown:
        raise _GrammarError(f"{where} has {', '.join(unknown)}; allowed: {', '.join(allowed)}")
    if missing:
        raise _GrammarError(f"{where} lacks {', '.join(missing)}")
    return value


def _listed(value: Any, where: str, most: int, fewest: int = 1) -> list[Any]:
    if not isinstance(value, list) or not fewest <= len(value) <= most:
        raise _GrammarError(f"{where}: found {_shown(value)}; allowed: a list of {fewest} to {most}")
    return value


def _matching(value: Any, where: str, pattern: re.Pattern[str], allowed: str) -> str:
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        raise _GrammarError(f"{where}: found {_shown(value)}; allowed: {allowed}")
    return value


def _range(value: Any, where: str) -> tuple[float, float]:
    low, high = _numbers(value, where, 2)
    return low, high


def _numbers(value: Any, where: str, count: int) -> list[float]:
    usable = isinstance(value, list) and len(value) == count
    if not usable or not all(isinstance(number, int | float) and 0.2 <= number <= 20 for number in value):
        raise _GrammarError(
            f"{where}: found {_shown(value)}; allowed: {count} of the numbers 0.2 to 20, width / height"
        )
    return [float(number) for number in value]


def _pair(value: Any, where: str) -> tuple[Colour, Colour]:
    ground, ink = _listed(value, where, 2, fewest=2)
    return _colour(ground, where), _colour(ink, where)


def _colour(value: Any, where: str) -> Colour:
    text = _matching(value, where, _COLOUR, 'two colours in quotes, background and ink, such as ["#ffffff", "#101010"]')
    red, green, blue = bytes.fromhex(text[1:])
    return red, green, blue


def _shown(value: Any) -> str:
    return repr(value)[:60]
