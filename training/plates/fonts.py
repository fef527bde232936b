"""Fonts of license plates, and their characters as masks.

The fonts are free ones that ship in packages (extra `plates`). The list of families is fixed, and the extra pins each
package's version: one more font on a machine would change every picture that a seed draws. A third of the fonts is held
out for evaluation. The first word of a family's name alone decides which, so that close relatives (Roboto, Roboto
Condensed, Roboto Mono) are on one side, and a new font moves no other across.

A character is drawn once, large and cropped to its ink, and scaled from there to where it is needed. All sizes are in
heights of the font's zero, so that a layout knows nothing of points and baselines, and a character can be stretched by
scaling its mask.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from shardline.wire.errors import FileError, MissingPackageError

FAMILIES = tuple(
    """
    abel albert-sans alfa-slab-one alumni-sans anton archivo archivo-black archivo-narrow arimo arvo asap
    assistant atkinson-hyperlegible barlow barlow-condensed barlow-semi-condensed be-vietnam-pro bebas-neue
    bitter black-ops-one cabin chakra-petch changa-one chivo comfortaa crimson-pro dm-mono dm-sans domine dosis
    eb-garamond encode-sans exo-2 figtree fira-code fjalla-one frank-ruhl-libre fredoka geist-mono heebo hind
    ibm-plex-mono ibm-plex-sans inconsolata instrument-sans inter jetbrains-mono jost kanit karla lato
    league-spartan lexend libre-baskerville libre-franklin lora manrope maven-pro merriweather montserrat mulish
    noto-sans noto-serif nunito nunito-sans onest open-sans orbitron oswald outfit overpass oxygen play poppins
    prompt pt-sans pt-sans-narrow pt-serif public-sans questrial quicksand rajdhani red-hat-display righteous
    roboto roboto-condensed roboto-mono roboto-slab rubik russo-one saira saira-condensed sanchez sarabun
    share-tech signika sofia-sans sora source-code-pro source-sans-3 source-serif-4 space-mono spectral teko
    titillium-web urbanist varela-round viga work-sans
    """.split()  # noqa: SIM905  # a list would take a hundred lines
)
Side = Literal["train", "held-out", "all"]
SIDES: tuple[Side, ...] = ("train", "held-out", "all")

_HELD_OUT_OF = 3  # one in three
_WEIGHTS = (400, 550, 700, 850)
_WIDTHS = (75, 100)  # per cent
# of the height of a zero; nothing is added to what is heavy already
_STROKES = (0.0, 0.0, 0.03)
_HEAVY = 700

INK = 128  # from this grey on a pixel of a mask counts as ink

_HEIGHTS_PX = (64, 288)  # of a zero; the smallest that is not scaled up by more than _UPSCALE
_UPSCALE = 1.25
_MARGIN_PX = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Font:
    """A font file at one point of its axes, perhaps emboldened by a stroke."""

    family: str
    file: Path
    axes: tuple[float, ...] = ()  # of a variable font, in its own order
    stroke: float = 0.0  # around each character, of the height of a zero


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    name: str
    least: float
    default: float
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    files: tuple[tuple[Path, int], ...]  # of upright styles, with their weights
    axes: tuple[_Axis, ...]


def families(side: Side) -> tuple[str, ...]:
    """The names of the families to train with, of those held out, or of all."""
    return tuple(name for name in FAMILIES if side == "all" or _is_held_out(name) == (side == "held-out"))


def random_font(random: np.random.Generator, names: tuple[str, ...]) -> Font:
    """Choose a family, weight, width and stroke at random.

    Raises:
        MissingPackageError: a family's package is not installed.
    """
    name = names[random.integers(0, len(names))]
    family = _family(name)
    weight_at, width_at, stroke_at = random.integers(0, (len(_WEIGHTS), len(_WIDTHS), len(_STROKES)))
    wanted = {"Weight": float(_WEIGHTS[weight_at]), "Width": float(_WIDTHS[width_at])}
    stroke = _STROKES[stroke_at]
    if family.axes:
        values = tuple(min(max(wanted.get(a.name, a.default), a.least), a.most) for a in family.axes)
        file, weight = family.files[0][0], wanted["Weight"]
    else:
        values = ()
        file, weight = min(family.files, key=lambda listed: abs(listed[1] - wanted["Weight"]))
    heavy = weight >= _HEAVY or (len(family.files) == 1 and not family.axes)  # single styles are mostly display fonts
    return Font(family=name, file=file, axes=values, stroke=0.0 if heavy else stroke)


def open_font(font: Font, size_px: float) -> ImageFont.FreeTypeFont:
    """Open a font at a size in pixels.

    Raises:
        FileError: the file cannot be read as a font.
    """
    try:
        opened = ImageFont.truetype(font.file, size_px, layout_engine=ImageFont.Layout.BASIC)
        if font.axes:
            opened.set_variation_by_axes(list(font.axes))
    except OSError as exc:
        raise FileError(f"{font.file} cannot be read as a font ({exc}): install its package again") from exc
    return opened


def _is_held_out(family: str) -> bool:
    first_word = family.partition("-")[0]
    return int(hashlib.sha256(first_word.encode()).hexdigest(), 16) % _HELD_OUT_OF == 0


def _folder(family: str) -> Path:
    spec = find_spec(f"fontpkg_{family.replace('-', '_')}")
    if spec is None or spec.origin is None:
        raise MissingPackageError(f"the font {family} is not installed; plates' fonts ship in packages: "
                         "pip install 'shardline[plates]'")  # fmt: skip
    return Path(spec.origin).parent


@cache
def _family(name: str) -> _Family:
    folder = _folder(name)
    listed = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))["files"]
    upright = [style for style in listed if style["style"] == "normal"]
    files = tuple((folder / style["path"], int(style["weight"] or 0)) for style in upright)
    if not upright[0]["variable"]:
        return _Family(files=files, axes=())
    return _Family(files=files[:1], axes=_axes(files[0][0]))


def _axes(file: Path) -> tuple[_Axis, ...]:
    found = open_font(Font(family="", file=file), 16).get_variation_axes()
    return tuple(
        _Axis(
            name=_text(axis["name"]),
            least=axis["minimum"] or 0,
            default=axis["default"] or 0,
            most=axis["maximum"] or 0,
        )
        for axis in found
    )


def _text(name: bytes | str | None) -> str:
    return name.decode() if isinstance(name, bytes) else name or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Glyph:
    """The ink of a character: its mask, and its box relative to the top of a zero, in heights of a zero."""

    mask: Image.Image  # mode L, cropped to its ink
    top: float
    width: float
    height: float


def glyph(font: Font, char: str, height_px: float) -> Glyph:
    """The glyph of `char`, drawn large enough to be scaled to where a zero is `height_px` high."""
    return _glyph(font, char, next((px for px in _HEIGHTS_PX if px * _UPSCALE >= height_px), _HEIGHTS_PX[-1]))


@lru_cache(maxsize=8192)  # of 2 or 6 KB each, 50 KB the large ones
def _glyph(font: Font, char: str, zero_px: int) -> Glyph:
    opened, zero = _opened(font, zero_px)
    mask, box = _ink(opened, char, font.stroke * zero_px)
    top, bottom = zero
    unit = bottom - top
    return Glyph(
        mask=mask.crop(box),
        top=(box[1] - top) / unit,
        width=(box[2] - box[0]) / unit,
        height=(box[3] - box[1]) / unit,
    )


@lru_cache(maxsize=512)
def _opened(font: Font, zero_px: int) -> tuple[ImageFont.FreeTypeFont, tuple[int, int]]:
    """The font at the size at which a zero is about `zero_px` high, and that zero's top and bottom."""
    first = open_font(font, zero_px)
    _, box = _ink(first, "0", 0.0)
    opened = open_font(font, zero_px * zero_px / (box[3] - box[1]))
    _, box = _ink(opened, "0", font.stroke * zero_px)
    return opened, (box[1], box[3])


def _ink(font: ImageFont.FreeTypeFont, char: str, stroke_px: float) -> tuple[Image.Image, tuple[int, int, int, int]]:
    """Draw a character on a canvas as high as the font; return the mask and the box of its ink."""
    left, _, right, _ = font.getbbox(char, stroke_width=stroke_px, anchor="ls")
    ascent, descent = font.getmetrics()
    margin = _MARGIN_PX + int(stroke_px + 1)
    size = int(right - left) + 2 * margin, 2 * ascent + descent  # some digits are higher than the ascent says
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).text(
        (margin - left, 2 * ascent - 1), char, fill=255, font=font, stroke_width=stroke_px, anchor="ls"
    )
    ink = np.asarray(mask) >= INK
    across, down = np.flatnonzero(ink.any(axis=0)), np.flatnonzero(ink.any(axis=1))
    return mask, (int(across[0]), int(down[0]), int(across[-1]) + 1, int(down[-1]) + 1)
