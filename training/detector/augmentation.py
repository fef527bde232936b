"""Augmentation of background photographs, so wide that a dozen files suffice.

A detector that has seen few photographs takes unknown objects for plates. So a crop is rotated, mirrored, recoloured,
blurred, patched together from several, or replaced by a texture; and shapes and words that are no plates are drawn on.
"""

import colorsys
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from shardline.training.plates.backgrounds import Backgrounds
from shardline.training.plates.fonts import families, open_font, random_font

Size = tuple[int, int]  # width, height

_ROTATIONS = (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)
# no characters of plates, and none that look like one: a word beside a plate is no part of it
_LETTERS = "FHJKLMNPRTUVWXYfhjkmnprtuvwxy&%$#?!/*+=<>@ÄÖÜ"
_GREY = np.full((3, 3), 1 / 3)


class AugmentedBackgrounds(Backgrounds):
    """Randomly augmented backgrounds. Words are written in the fonts to train with."""

    __slots__ = ()

    def crop(self, random: np.random.Generator, size: Size) -> tuple[Image.Image, str]:
        """A random crop, augmented, and its file's name, "" for a texture.

        Raises:
            DatasetError: a file cannot be read as a picture.
        """
        image, name = self._patchwork(random, size) if random.random() < 0.3 else self._single(random, size)
        for augment, share in _AUGMENTATIONS:
            if random.random() < share:
                image = augment(random, image)
        return image, name

    def _single(self, random: np.random.Generator, size: Size) -> tuple[Image.Image, str]:
        """A crop of one photograph, or a texture."""
        if random.random() < 0.1:
            return _texture(random, size), ""
        image, name = Backgrounds.crop(self, random, size)
        if random.random() < 0.15:
            rotated = image.transpose(_ROTATIONS[random.integers(0, len(_ROTATIONS))])
            image = rotated if rotated.size == size else rotated.resize(size, Image.Resampling.BILINEAR)
        return image, name

    def _patchwork(self, random: np.random.Generator, size: Size) -> tuple[Image.Image, str]:
        """Several crops side by side: a rectangle is split again and again at random."""
        image, name = self._single(random, size)
        boxes = [(0, 0, *size)]
        for _ in range(random.integers(1, 6)):
            left, top, right, bottom = boxes.pop(int(random.integers(0, len(boxes))))
            share = random.uniform(0.25, 0.75)
            if (right - left) * random.uniform(0.5, 2) > bottom - top:
                middle = int(left + share * (right - left))
                boxes += [(left, top, middle, bottom), (middle, top, right, bottom)]
            else:
                middle = int(top + share * (bottom - top))
                boxes += [(left, top, right, middle), (left, middle, right, bottom)]
        for left, top, right, bottom in boxes[1:]:
            if min(right - left, bottom - top) >= 8:
                image.paste(self._single(random, (right - left, bottom - top))[0], (left, top))
        return image, name


def _texture(random: np.random.Generator, size: Size) -> Image.Image:
    """Random noise, stripes or gradients, as walls, cloth, grilles and skies have."""
    cells = random.integers(1, 48, 2)
    if random.random() < 0.3:
        cells[random.integers(0, 2)] = 1
    colours, spread = random.integers(0, 256, 3), random.integers(5, 120)
    grain = colours + random.integers(-spread, spread + 1, (*cells, 3 if random.random() < 0.5 else 1))
    coarse = Image.fromarray(np.broadcast_to(grain.clip(0, 255), (*cells, 3)).astype(np.uint8))
    smooth = Image.Resampling.NEAREST if random.random() < 0.4 else Image.Resampling.BICUBIC
    return coarse.resize(size, smooth)


def _mirror(_: np.random.Generator, image: Image.Image) -> Image.Image:
    return ImageOps.flip(image)


def _recolour(random: np.random.Generator, image: Image.Image) -> Image.Image:
    """Mix the channels at random: saturation, swapped channels, a colour shift, sometimes the negative."""
    order = np.eye(3)[random.permutation(3)] if random.random() < 0.5 else np.eye(3)
    strength = random.uniform(-0.2, 1.3)
    mixed = strength * order + (1 - strength) * _GREY + random.normal(0, 0.08, (3, 3))
    shift = random.normal(0, 25, (3, 1))
    if random.random() < 0.06:
        mixed, shift = -mixed, 255 + shift
    return image.convert("RGB", tuple(np.hstack((mixed, shift)).ravel().tolist()))


def _blur(random: np.random.Generator, image: Image.Image) -> Image.Image:
    """Blur by shrinking, which is cheap and looks like a far background."""
    factor = float(np.exp(random.uniform(np.log(1.5), np.log(8))))
    small = image.resize((max(1, int(image.width / factor)), max(1, int(image.height / factor))), Image.Resampling.BOX)
    return small.resize(image.size, Image.Resampling.BILINEAR)


def _shapes(random: np.random.Generator, image: Image.Image) -> Image.Image:
    """Draw boxes, discs and lines in any colour, like windows, lamps, poles and empty boards."""
    draw = ImageDraw.Draw(image)
    for _ in range(random.integers(1, 9)):
        width, height = np.exp(random.uniform(np.log(6), np.log(0.6 * min(image.size)), 2))
        left, top = random.uniform(-0.1, 1, 2) * image.size
        box = int(left), int(top), int(left + width), int(top + height)
        fill = _colour(random) if random.random() < 0.8 else None
        edge = _colour(random) if fill is None or random.random() < 0.5 else None
        line = int(random.integers(1, 5))
        match int(random.integers(0, 5)):
            case 0:
                draw.ellipse(box, fill, edge, line)
            case 1:
                draw.line(box, edge or fill, line)
            case 2:
                draw.rounded_rectangle(box, (min(width, height) - 5) * random.uniform(0, 0.4), fill, edge, line)
            case _:
                draw.rectangle(box, fill, edge, line)
    return image


def _rows(random: np.random.Generator, image: Image.Image) -> Image.Image:
    """Draw a grid of equal shapes, like windows, grilles and fences: edges as close as those of characters."""
    draw = ImageDraw.Draw(image)
    step, share = np.exp(random.uniform(np.log(4), np.log(40), 2)), random.uniform(0.3, 0.85, 2)
    columns, rows = random.integers(2, 12), random.integers(1, 8)
    start = random.uniform(0, 0.8, 2) * image.size
    if random.random() < 0.6:
        draw.rectangle((*(start - step), *(start + step * (columns + 1, rows + 1))), _colour(random))
    fill = _colour(random)
    for row in range(rows):
        for column in range(columns):
            corner = start + step * (column, row)
            draw.rectangle((*corner, *(corner + step * share)), fill)
    return image


def _words(random: np.random.Generator, image: Image.Image) -> Image.Image:
    """Draw words without characters of plates, some of them on a board."""
    draw = ImageDraw.Draw(image)
    names = families("train")
    for _ in range(random.integers(1, 4)):
        size_px = float(np.exp(random.uniform(np.log(7), np.log(0.25 * min(image.size)))))
        font = open_font(random_font(random, names), size_px)
        word = "".join(_LETTERS[at] for at in random.integers(0, len(_LETTERS), random.integers(2, 12)))
        corner = random.uniform(0, 0.9, 2) * image.size
        left, top, right, bottom = draw.textbbox(tuple(corner), word, font=font)
        if random.random() < 0.4:
            room = 0.3 * size_px
            draw.rectangle((left - room, top - room, right + room, bottom + room), _colour(random))
        draw.text(tuple(corner), word, _colour(random), font)
    return image


def _colour(random: np.random.Generator) -> tuple[int, int, int]:
    """A random colour; pale ones are more likely than in a uniform distribution over RGB."""
    hue, strength, light = random.random(), random.random() ** 2, random.random()
    red, green, blue = colorsys.hsv_to_rgb(hue, strength, light)
    return int(255 * red), int(255 * green), int(255 * blue)


_Augment = Callable[[np.random.Generator, Image.Image], Image.Image]
_AUGMENTATIONS: tuple[tuple[_Augment, float], ...] = (  # with the share of backgrounds that get each
    (_mirror, 0.2),
    (_blur, 0.12),
    (_recolour, 0.45),
    (_shapes, 0.2),
    (_rows, 0.12),
    (_words, 0.15),
)
