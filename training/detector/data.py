"""What the detector learns from: picture i of a seed and a stage, always the same one, whoever draws it.

Without torch: the processes that draw start fast and stay small.
"""

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tasks.plate_text import CLASSES
from training.plates.backgrounds import Backgrounds
from training.plates.marks import Mark, Plate
from training.plates.picture import Picture, draw_picture
from training.plates.scene import Scene

BOARDS, GROUPS, CHARACTERS = CLASSES[:2], CLASSES[2:6], CLASSES[6:]
KINDS = (BOARDS, GROUPS, CHARACTERS)
CROPS, VIEWS = 4, 2  # pictures in a batch
Look = Literal["crops", "views"]

_PAD = 114  # grey, as the transformer's letter-box
_LEAST_CHARACTER_PX, _LEAST_GROUP_PX = 6.0, 4.0  # of height: below, nobody can tell
_VIEWS = ((1, 1), (4, 3), (3, 2), (16, 9), (3, 4), (2, 3))  # width : height of what a camera gives
_PLAIN, _SMALL = 0.08, 0.12  # shares of pictures without plates, and with very small ones
_STAGES = {"crops": 0, "views": 1}


class Column(IntEnum):
    """What `Sample.things` says of each."""

    KIND = 0  # 0 board, 1 group, 2 character
    CLASS = 1  # within its kind
    X = 2  # of the box's middle
    Y = 3
    WIDTH = 4
    HEIGHT = 5
    COSINE = 6  # of the plate's direction
    SINE = 7
    PLATE = 8  # which of the picture's
    KNOWN = 9  # 0: it cannot be told what it is, so the detector may say what it likes


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    pixels: NDArray[np.uint8]  # [side, side, 3], RGB
    things: NDArray[np.float32]  # [n, columns]: boxes whole, also where they reach out of the picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """All the pictures of one seed. It can be pickled.

    `crops` are filled with several plates each, and cheap; `views` are whole photographs in the letter-box that the
    detector is served with, with plates up to its full width. Some of either have none, some only plates so small that
    no character can be told: where one is suspected there, the original is looked at again.
    """

    seed: int
    fonts: tuple[str, ...]
    backgrounds: Backgrounds

    def draw(self, look: Look, side: int, index: int) -> Sample:
        """Picture `index` of a look, `side` pixels wide and high.

        Raises:
            ModelError: a font or a photograph cannot be read.
        """
        seeds = np.random.SeedSequence((self.seed, _STAGES[look], index))
        random = np.random.Generator(np.random.PCG64(seeds))
        size = (side, side) if look == "crops" else _view(random, side)
        scene = _scene(random, size, most_plates=5 if look == "crops" else 6)
        picture = draw_picture(random, scene, self.fonts, self.backgrounds)
        sample = boxed(picture, side)
        if random.random() < 0.2:  # other colours, to the same shapes
            return replace(sample, pixels=sample.pixels[:, :, random.permutation(3)])
        return sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """Batch i of a recipe. It can be pickled: other processes draw."""

    pictures: Pictures
    crops: int  # batches of crops, which come first
    size: int

    def __call__(self, step: int) -> list[Sample]:
        look, side, count, first = self.at(step)
        return [self.pictures.draw(look, side, index) for index in range(first, first + count)]

    def at(self, step: int) -> tuple[Look, int, int, int]:
        """Of batch `step`: the look, the side in pixels, how many pictures, and the first one's number."""
        if step < self.crops:
            return "crops", self.size // 2, CROPS, step * CROPS
        return "views", self.size, VIEWS, (step - self.crops) * VIEWS


def boxed(picture: Picture, side: int) -> Sample:
    """The picture amid a grey square, and what is in it."""
    height, width = picture.pixels.shape[:2]
    left, top = (side - width) // 2, (side - height) // 2
    pixels = np.full((side, side, 3), _PAD, np.uint8)
    pixels[top : top + height, left : left + width] = picture.pixels
    things = [_row(at, plate, mark, left, top) for at, plate in enumerate(picture.plates) for mark in plate.marks]
    return Sample(pixels=pixels, things=np.array(things, np.float32).reshape(-1, len(Column)))


def _row(at: int, plate: Plate, mark: Mark, left: int, top: int) -> tuple[float, ...]:
    kind = next(number for number, classes in enumerate(KINDS) if mark.label in classes)
    x, y = (mark.box[0] + mark.box[2]) / 2 + left, (mark.box[1] + mark.box[3]) / 2 + top
    width, height = mark.box[2] - mark.box[0], mark.box[3] - mark.box[1]
    turn = np.radians(plate.outline.angle_deg)
    least = (0.0, _LEAST_GROUP_PX, _LEAST_CHARACTER_PX)[kind]
    known = mark.recognisable and height >= least
    turned = float(np.cos(turn)), float(np.sin(turn))
    return kind, KINDS[kind].index(mark.label), x, y, width, height, *turned, at, known


def _view(random: np.random.Generator, side: int) -> tuple[int, int]:
    """The largest width and height of a camera's proportions in the square."""
    across, down = _VIEWS[random.integers(0, len(_VIEWS))]
    return side * across // max(across, down), side * down // max(across, down)


def _scene(random: np.random.Generator, size: tuple[int, int], most_plates: int) -> Scene:
    usual = Scene(size=size, plates=(2, most_plates), empty=0, least_width_px=40, most_width=0.92, rotation_deg=25)
    lot = random.random()
    if lot < _PLAIN:
        return replace(usual, plates=(0, 0), signs=0.5)
    if lot < _PLAIN + _SMALL:
        return replace(usual, plates=(3, 8), least_width_px=15, most_width=56 / size[0], covered=0.05)
    return usual
