"""Training pictures of the detector; a picture follows from the seed and its number alone.

Without torch: the worker processes that draw start fast and stay small.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from shardline.tasks.plates.grammar import PlateGrammar, built_in
from shardline.training.detector.objects import (
    TEXTS,
    Column,
    character_crops,
    classes_by_kind,
    plate_crops,
)
from shardline.training.plates.annotations import Annotation, DrawnPicture, DrawnPlate
from shardline.training.plates.backgrounds import Backgrounds
from shardline.training.plates.geometry import Outline
from shardline.training.plates.picture import draw_picture
from shardline.training.plates.scene import Scene

BATCH = 4  # pictures

_PAD = 114  # grey of the letterbox, as the transformer's
_LEAST_CHARACTER_PX, _LEAST_GROUP_PX = 6.0, 4.0  # height below which an object is not recognisable
_ASPECTS = ((1, 1), (4, 3), (3, 2), (16, 9), (3, 4), (2, 3))  # width : height of cameras' pictures
_PLAIN, _TINY, _CLOSE = 0.07, 0.07, 0.06  # shares of pictures: without plates, with tiny ones, with a part of one
_LEAST_PX = 40  # width of a plate that is to be read
_WIDEST_PX, _WIDEST = 64, 0.92  # of a picture's widest plate: least width in pixels, largest share of the picture
_PLATE_AREA, _FILLED = 0.45, 0.6  # area of a plate's box over its squared width; share of the picture to be filled
_PLATES = (2, 14)  # fewest and most in a picture
_WRITTEN = 0.15  # share of pictures with no plates but other boards, where these have writing
_LETTERBOXED = 0.25  # share of pictures


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorSample:
    """A training picture, its objects, and the crops that the readers are trained on."""

    pixels: NDArray[np.uint8]  # [side, side, 3], RGB
    objects: NDArray[np.float32]  # [n, 11], see Column: boxes are whole, also where they reach out of the picture
    # [k, 6], boards that are no plates: x and y of the box's centre, width, height, cosine and sine of the orientation
    signs: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 6), np.float32))
    # [m, 5] and [k, 6 + positions], see shardline.training.detector.objects
    character_crops: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 5), np.float32))
    plate_crops: NDArray[np.float32] = field(
        default_factory=lambda: np.zeros((0, TEXTS + len(built_in().alphabets)), np.float32)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorSamples:
    """The training pictures of one seed, side × side pixels; picklable.

    Some are letterboxed, as served pictures are. Where all plates are small, there are many. Some pictures have none,
    some only plates so small that no character is recognisable: where the served detector suspects one, a crop of the
    original is read.
    """

    seed: int
    side: int
    fonts: tuple[str, ...]
    backgrounds: Backgrounds
    writing: float = 0.0  # share of boards that are no plates with any letters and digits
    grammar: PlateGrammar = field(default_factory=built_in)

    def draw(self, index: int) -> DetectorSample:
        """Draw picture `index`.

        Raises:
            FileError, MissingPackageError, DatasetError: a font or a photograph cannot be read.
        """
        random = np.random.Generator(np.random.PCG64(np.random.SeedSequence((self.seed, index))))
        size = _camera_size(random, self.side) if random.random() < _LETTERBOXED else (self.side, self.side)
        scene = replace(_scene(random, size), grammar=self.grammar)
        if self.writing:
            scene = _with_writing(random, scene, self.writing)
        sample = letterboxed(draw_picture(random, scene, self.fonts, self.backgrounds), self.side, self.grammar)
        if random.random() < 0.2:  # other colours for the same shapes
            sample = replace(sample, pixels=sample.pixels[:, :, random.permutation(3)])
        characters = character_crops(random, sample.objects, self.side)
        plates = plate_crops(random, sample.objects, sample.signs, self.side, self.grammar)
        return replace(sample, character_crops=characters, plate_crops=plates)

    def batch(self, step: int, count: int = BATCH) -> list[DetectorSample]:
        """Draw the batch of a step."""
        return [self.draw(index) for index in range(step * count, (step + 1) * count)]


def letterboxed(picture: DrawnPicture, side: int, grammar: PlateGrammar) -> DetectorSample:
    """Put a picture in the middle of a grey square, and list its objects."""
    height, width = picture.pixels.shape[:2]
    left, top = (side - width) // 2, (side - height) // 2
    pixels = np.full((side, side, 3), _PAD, np.uint8)
    pixels[top : top + height, left : left + width] = picture.pixels
    classes = classes_by_kind(grammar)
    objects = [
        _object_row(number, plate, annotation, left, top, classes)
        for number, plate in enumerate(picture.plates)
        for annotation in plate.annotations
    ]
    signs = [_sign_row(sign, left, top) for sign in picture.signs]
    return DetectorSample(
        pixels=pixels,
        objects=np.array(objects, np.float32).reshape(-1, len(Column)),
        signs=np.array(signs, np.float32).reshape(-1, 6),
    )


def _sign_row(sign: Outline, left: int, top: int) -> tuple[float, ...]:
    x0, y0, x1, y1 = sign.box
    angle = np.radians(sign.angle_deg)
    return (x0 + x1) / 2 + left, (y0 + y1) / 2 + top, x1 - x0, y1 - y0, float(np.cos(angle)), float(np.sin(angle))


def _object_row(
    number: int, plate: DrawnPlate, annotation: Annotation, left: int, top: int, classes: Sequence[Sequence[str]]
) -> tuple[float, ...]:
    kind = next(index for index, names in enumerate(classes) if annotation.label in names)
    x0, y0, x1, y1 = annotation.box
    x, y, width, height = (x0 + x1) / 2 + left, (y0 + y1) / 2 + top, x1 - x0, y1 - y0
    angle = np.radians(plate.outline.angle_deg)
    known = annotation.recognisable and height >= (0.0, _LEAST_GROUP_PX, _LEAST_CHARACTER_PX)[kind]
    direction = float(np.cos(angle)), float(np.sin(angle))
    label = classes[kind].index(annotation.label)
    return kind, label, x, y, width, height, *direction, number, known, annotation.visible


def _camera_size(random: np.random.Generator, side: int) -> tuple[int, int]:
    """The largest width and height of a camera's proportions in the square."""
    across, down = _ASPECTS[random.integers(0, len(_ASPECTS))]
    return side * across // max(across, down), side * down // max(across, down)


def _with_writing(random: np.random.Generator, scene: Scene, writing: float) -> Scene:
    """The scene with more boards that are no plates; in some pictures nothing else."""
    if random.random() < _WRITTEN:
        return replace(scene, plates=(0, 0), signs=1.0, most_signs=10, writing=writing)
    return replace(scene, signs=0.7, most_signs=4, writing=writing)


def _scene(random: np.random.Generator, size: tuple[int, int]) -> Scene:
    """A random scene, as full as possible: the more characters, the more is learnt.

    In some pictures the one plate is larger than the picture, and its objects are too large for the maps.
    """
    chance = random.random()
    scene = Scene(size=size, plates=_PLATES, empty=0, least_width_px=_LEAST_PX, most_width=_WIDEST, rotation_deg=25)
    if chance < _PLAIN:
        return replace(scene, plates=(0, 0), signs=0.5)
    if chance < _PLAIN + _TINY:
        return replace(scene, plates=(3, 8), least_width_px=15, most_width=56 / size[0], covered=0.05)
    if chance < _PLAIN + _TINY + _CLOSE:
        return replace(scene, plates=(1, 1), least_width_px=0.8 * size[0], most_width=1.8, cut_off=1.0)
    widest_px = float(np.exp(random.uniform(np.log(_WIDEST_PX), np.log(_WIDEST * size[0]))))
    squared = _LEAST_PX * widest_px  # the square of the median width
    most = int(np.clip(_FILLED * size[0] * size[1] / (_PLATE_AREA * squared), *_PLATES))
    return replace(scene, plates=(most // 2, most), most_width=widest_px / size[0])
