"""What hides part of a plate: a bar before it, a patch of something else, a blot of mud."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from shardline.training.plates.warp import Points

Mask = NDArray[np.uint8]  # [height, width] of the picture, 255 where something is hidden


def cover(random: np.random.Generator, picture: Image.Image, other: Image.Image, corners: Points) -> Mask:
    """Hide a part of the plate with these corners [4, 2]; `other` gives the texture. Returns what is hidden."""
    mask = Image.new("L", picture.size)
    shapes: tuple[Callable[[np.random.Generator, ImageDraw.ImageDraw, Points], None], ...] = (_bar, _corner, _blot)
    shapes[random.integers(0, len(shapes))](random, ImageDraw.Draw(mask), corners)
    if random.random() < 0.5:
        mask = mask.filter(ImageFilter.BoxBlur(1))
    colour = tuple(int(each) for each in random.integers(10, 200, 3))
    picture.paste(other if random.random() < 0.5 else Image.new("RGB", picture.size, colour), mask=mask)
    return np.asarray(mask)


def _bar(random: np.random.Generator, draw: ImageDraw.ImageDraw, corners: Points) -> None:
    """A pole, a rope, a branch across the plate."""
    upper_left, upper_right, lower_right, lower_left = corners
    height = float(np.hypot(*(lower_left - upper_left)))
    start, end = random.uniform(0, 1), random.uniform(0, 1)
    ends = np.array([upper_left + start * (upper_right - upper_left), lower_left + end * (lower_right - lower_left)])
    ends += (ends[0] - ends[1]) * ((0.4,), (-0.4,))
    draw.line([tuple(each) for each in ends.tolist()], fill=255, width=max(1, int(height * random.uniform(0.03, 0.4))))


def _corner(random: np.random.Generator, draw: ImageDraw.ImageDraw, corners: Points) -> None:
    """Something that stands before one end of the plate, or before its lower or upper edge."""
    side = int(random.integers(0, 4))
    first, second, third, fourth = np.roll(corners, -side, axis=0)
    depths = random.uniform(0.05, 0.35) * random.uniform(0.6, 1.4, 2)
    inner = second + depths[0] * (third - second), first + depths[1] * (fourth - first)
    outer = first + 0.5 * (first - fourth), second + 0.5 * (second - third)
    draw.polygon([tuple(each.tolist()) for each in (*outer, *inner)], fill=255)


def _blot(random: np.random.Generator, draw: ImageDraw.ImageDraw, corners: Points) -> None:
    """A spot with a ragged edge somewhere on the plate."""
    upper_left, upper_right, _, lower_left = corners
    height = float(np.hypot(*(lower_left - upper_left)))
    middle = upper_left + random.random() * (upper_right - upper_left) + random.random() * (lower_left - upper_left)
    turns = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    radii = height * random.uniform(0.08, 0.35) * random.uniform(0.6, 1.3, 12)
    edge = middle + radii[:, None] * np.array([np.cos(turns), np.sin(turns)]).T
    draw.polygon([tuple(each) for each in edge.tolist()], fill=255)
