"""Characters as masks: each is drawn once, large and cropped to its ink, and scaled from there to where it is needed.

All sizes are in heights of the font's zero, so that a layout knows nothing of points and baselines, and a character can
be stretched by scaling its mask. What is cached follows from the font and the character alone.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from shardline.training.plates.fonts import Font, open_font

INK = 128  # from this grey on a pixel of a mask counts as ink

_HEIGHTS_PX = (64, 288)  # of a zero; the smallest that is not scaled up by more than _UPSCALE
_UPSCALE = 1.25
_MARGIN_PX = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Glyph:
    """A character's ink: its mask, and its place relative to the top of a zero, in heights of a zero."""

    mask: Image.Image  # mode L, cropped to its ink
    top: float
    width: float
    height: float


def glyph(font: Font, char: str, height_px: float) -> Glyph:
    """`char`, fit to be scaled to where a zero is `height_px` high."""
    return _glyph(font, char, next((each for each in _HEIGHTS_PX if each * _UPSCALE >= height_px), _HEIGHTS_PX[-1]))


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
    """The font at the size where a zero is about `zero_px` high, and that zero's top and bottom."""
    first = open_font(font, zero_px)
    _, box = _ink(first, "0", 0.0)
    opened = open_font(font, zero_px * zero_px / (box[3] - box[1]))
    _, box = _ink(opened, "0", font.stroke * zero_px)
    return opened, (box[1], box[3])


def _ink(font: ImageFont.FreeTypeFont, char: str, stroke_px: float) -> tuple[Image.Image, tuple[int, int, int, int]]:
    """The character on a canvas that is as high as the font, whatever the character, and the box of its ink."""
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
