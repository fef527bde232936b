"""What the detector learns from: picture i of a seed and a stage, always the same one, whoever draws it.

Without torch: the processes that draw start fast and stay small.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from shardline.training.detector.objects import KINDS, PLACES, TEXTS, Column, character_crops, plate_crops
from shardline.training.plates.annotations import Annotation, DrawnPicture, DrawnPlate
from shardline.training.plates.backgrounds import Backgrounds
from shardline.training.plates.geometry import Outline
from shardline.training.plates.picture import draw_picture
from shardline.training.plates.scene import Scene

BATCH = 4  # pictures

_PAD = 114  # grey, as the transformer's letter-box
_LEAST_CHARACTER_PX, _LEAST_GROUP_PX = 6.0, 4.0  # of height: below, nobody can tell
_VIEWS = ((1, 1), (4, 3), (3, 2), (16, 9), (3, 4), (2, 3))  # width : height of what a camera gives
_PLAIN, _TINY, _CLOSE = 0.07, 0.07, 0.06  # shares of pictures: without plates, with very small ones, with a part of one
_LEAST_PX = 40  # width of a plate that is to be read
_WIDEST_PX, _WIDEST = 64, 0.92  # least, in pixels, and most, as a share of the picture, of its widest plate's width
_PLATE_AREA, _FILLED = 0.45, 0.6  # of a plate's box, over its width squared; of the picture that boxes should fill
_PLATES = (2, 14)  # least and most of them in a picture
_WRITTEN = 0.15  # share of pictures with nothing but other boards, where there is writing on these
_BOXED = 0.25  # share of pictures in a letter-box


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorSample:
    pixels: NDArray[np.uint8]  # [side, side, 3], RGB
    things: NDArray[np.float32]  # [n, columns]: boxes whole, also where they reach out of the picture
    # [k, 6], boards that are no plates: x and y of the box's middle, width, height, cosine and sine of the direction
    signs: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 6), np.float32))
    # see training/detector/looks.py
    looks: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 5), np.float32))
    plates: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, TEXTS + PLACES), np.float32))


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorSamples:
    """All the pictures of one seed, side × side pixels. It can be pickled.

    Some are whole photographs in the letter-box that the detector is served with. Where all plates are small, there are
    many. Some have none, some only plates so small that no character can be told: where one is suspected there, the
    original is looked at again.
    """

    seed: int
    side: int
    fonts: tuple[str, ...]
    backgrounds: Backgrounds
    writing: float = 0.0  # share of boards that are no plates on which there are any letters and digits

    def draw(self, index: int) -> DetectorSample:
        """
        Raises:
            ModelError: a font or a photograph cannot be read.
        """
        random = np.random.Generator(np.random.PCG64(np.random.SeedSequence((self.seed, index))))
        size = _view(random, self.side) if random.random() < _BOXED else (self.side, self.side)
        scene = _scene(random, size)
        if self.writing:
            scene = _written_on(random, scene, self.writing)
        sample = letterboxed(draw_picture(random, scene, self.fonts, self.backgrounds), self.side)
        if random.random() < 0.2:  # other colours, to the same shapes
            sample = replace(sample, pixels=sample.pixels[:, :, random.permutation(3)])
        looks = character_crops(random, sample.things, self.side)
        plates = plate_crops(random, sample.things, sample.signs, self.side)
        return replace(sample, looks=looks, plates=plates)

    def batch(self, step: int, count: int = BATCH) -> list[DetectorSample]:
        return [self.draw(index) for index in range(step * count, (step + 1) * count)]


def letterboxed(picture: DrawnPicture, side: int) -> DetectorSample:
    """The picture amid a grey square, and what is in it."""
    height, width = picture.pixels.shape[:2]
    left, top = (side - width) // 2, (side - height) // 2
    pixels = np.full((side, side, 3), _PAD, np.uint8)
    pixels[top : top + height, left : left + width] = picture.pixels
    things = [_row(at, plate, mark, left, top) for at, plate in enumerate(picture.plates) for mark in plate.annotations]
    signs = [_placed(sign, left, top) for sign in picture.signs]
    return DetectorSample(
        pixels=pixels,
        things=np.array(things, np.float32).reshape(-1, len(Column)),
        signs=np.array(signs, np.float32).reshape(-1, 6),
    )


def _placed(sign: Outline, left: int, top: int) -> tuple[float, ...]:
    x0, y0, x1, y1 = sign.box
    turn = np.radians(sign.angle_deg)
    return (x0 + x1) / 2 + left, (y0 + y1) / 2 + top, x1 - x0, y1 - y0, float(np.cos(turn)), float(np.sin(turn))


def _row(at: int, plate: DrawnPlate, mark: Annotation, left: int, top: int) -> tuple[float, ...]:
    kind = next(number for number, classes in enumerate(KINDS) if mark.label in classes)
    x, y = (mark.box[0] + mark.box[2]) / 2 + left, (mark.box[1] + mark.box[3]) / 2 + top
    width, height = mark.box[2] - mark.box[0], mark.box[3] - mark.box[1]
    turn = np.radians(plate.outline.angle_deg)
    least = (0.0, _LEAST_GROUP_PX, _LEAST_CHARACTER_PX)[kind]
    known = mark.recognisable and height >= least
    turned = float(np.cos(turn)), float(np.sin(turn))
    return kind, KINDS[kind].index(mark.label), x, y, width, height, *turned, at, known, mark.visible


def _view(random: np.random.Generator, side: int) -> tuple[int, int]:
    """The largest width and height of a camera's proportions in the square."""
    across, down = _VIEWS[random.integers(0, len(_VIEWS))]
    return side * across // max(across, down), side * down // max(across, down)


def _written_on(random: np.random.Generator, scene: Scene, writing: float) -> Scene:
    """With more boards that are no plates; on some pictures nothing else."""
    if random.random() < _WRITTEN:
        return replace(scene, plates=(0, 0), signs=1.0, most_signs=10, writing=writing)
    return replace(scene, signs=0.7, most_signs=4, writing=writing)


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
