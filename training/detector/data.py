"""What the detector learns from: picture i of a seed and a stage, always the same one, whoever draws it.

Without torch: the processes that draw start fast and stay small.
"""

from dataclasses import dataclass, field, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from tasks.plate_text import CLASSES
from training.plates.backgrounds import Backgrounds
from training.plates.marks import Mark, Plate
from training.plates.picture import Picture, draw_picture
from training.plates.scene import Scene

BOARDS, GROUPS, CHARACTERS = CLASSES[:2], CLASSES[2:6], CLASSES[6:]
KINDS = (BOARDS, GROUPS, CHARACTERS)
BATCH = 4  # pictures

_PAD = 114  # grey, as the transformer's letter-box
_LEAST_CHARACTER_PX, _LEAST_GROUP_PX = 6.0, 4.0  # of height: below, nobody can tell
_VIEWS = ((1, 1), (4, 3), (3, 2), (16, 9), (3, 4), (2, 3))  # width : height of what a camera gives
_PLAIN, _TINY, _CLOSE = 0.07, 0.07, 0.06  # shares of pictures: without plates, with very small ones, with a part of one
_LEAST_PX = 40  # width of a plate that is to be read
_WIDEST_PX, _WIDEST = 64, 0.92  # least, in pixels, and most, as a share of the picture, of its widest plate's width
_PLATE_AREA, _FILLED = 0.45, 0.6  # of a plate's box, over its width squared; of the picture that boxes should fill
_PLATES = (2, 14)  # least and most of them in a picture
_BOXED = 0.25  # share of pictures in a letter-box
_OFF, _OTHER_SIZE = 0.06, 0.09  # of a look: spread of its middle, over its longer side; of its sizes' logarithms


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
    # [m, 5]: left, top, right, bottom, class of the characters to be read, each box as far off as a detector's may be
    looks: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 5), np.float32))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """All the pictures of one seed, side × side pixels. It can be pickled.

    Some are whole photographs in the letter-box that the detector is served with. Where all plates are small, there are
    many. Some have none, some only plates so small that no character can be told: where one is suspected there, the
    original is looked at again.
    """

    seed: int
    side: int
    fonts: tuple[str, ...]
    backgrounds: Backgrounds

    def draw(self, index: int) -> Sample:
        """
        Raises:
            ModelError: a font or a photograph cannot be read.
        """
        random = np.random.Generator(np.random.PCG64(np.random.SeedSequence((self.seed, index))))
        size = _view(random, self.side) if random.random() < _BOXED else (self.side, self.side)
        sample = boxed(draw_picture(random, _scene(random, size), self.fonts, self.backgrounds), self.side)
        if random.random() < 0.2:  # other colours, to the same shapes
            sample = replace(sample, pixels=sample.pixels[:, :, random.permutation(3)])
        return replace(sample, looks=_looks(random, sample.things, self.side))

    def batch(self, step: int) -> list[Sample]:
        return [self.draw(index) for index in range(step * BATCH, (step + 1) * BATCH)]


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


def _looks(random: np.random.Generator, things: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """`Sample.looks`: the characters that can be told and whose middle is in the picture."""
    middles, sizes = things[:, [Column.X, Column.Y]], things[:, [Column.WIDTH, Column.HEIGHT]]
    told = (things[:, Column.KIND] == 2) & (things[:, Column.KNOWN] > 0) & ((middles >= 0) & (middles < side)).all(1)
    middles, sizes = middles[told], sizes[told]
    far = _OFF * random.choice((0.5, 1, 1, 2), (len(sizes), 1))
    middles = middles + far * random.normal(size=sizes.shape) * sizes.max(1, initial=0, keepdims=True)
    sizes = sizes * np.exp(_OTHER_SIZE * random.normal(size=sizes.shape))
    classes = things[told][:, [Column.CLASS]]
    return np.concatenate((middles - sizes / 2, middles + sizes / 2, classes), axis=1).astype(np.float32)


def _view(random: np.random.Generator, side: int) -> tuple[int, int]:
    """The largest width and height of a camera's proportions in the square."""
    across, down = _VIEWS[random.integers(0, len(_VIEWS))]
    return side * across // max(across, down), side * down // max(across, down)


def _scene(random: np.random.Generator, size: tuple[int, int]) -> Scene:
    """As full as can be: the more characters there are, the more is learnt. How wide plates may be is drawn by lot.

    In some pictures the one plate is larger than the picture, too large for the maps, and what is on it is too.
    """
    lot = random.random()
    scene = Scene(size=size, plates=_PLATES, empty=0, least_width_px=_LEAST_PX, most_width=_WIDEST, rotation_deg=25)
    if lot < _PLAIN:
        return replace(scene, plates=(0, 0), signs=0.5)
    if lot < _PLAIN + _TINY:
        return replace(scene, plates=(3, 8), least_width_px=15, most_width=56 / size[0], covered=0.05)
    if lot < _PLAIN + _TINY + _CLOSE:
        return replace(scene, plates=(1, 1), least_width_px=0.8 * size[0], most_width=1.8, cut_off=1.0)
    widest_px = float(np.exp(random.uniform(np.log(_WIDEST_PX), np.log(_WIDEST * size[0]))))
    usual = _LEAST_PX * widest_px  # the square of the width that half of the plates have
    most = int(np.clip(_FILLED * size[0] * size[1] / (_PLATE_AREA * usual), *_PLATES))
    return replace(scene, plates=(most // 2, most), most_width=widest_px / size[0])
