"""Drawn pictures: a photograph, plates, boards that are no plates, objects that cover them, and the camera.

Everything is drawn at random from the generator that is passed in, so that a seed and a number give one picture. A
training framework's data set is `PlateStream.draw` by index.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image

from shardline.tasks.plates.text import PlateText, random_text
from shardline.training.plates.annotations import DrawnPicture, DrawnPlate, annotate, with_visibility
from shardline.training.plates.backgrounds import Backgrounds
from shardline.training.plates.degradation import Colour, Mask, expose, occlude, occlude_quads, random_effects
from shardline.training.plates.face import PlateFace, draw_face, draw_sign
from shardline.training.plates.geometry import Box, Matrix, Outline, move, oversampling, paste_warped, scale
from shardline.training.plates.scene import BoardPosition, Scene, any_writing, find_position, unlike_plates
from shardline.training.plates.style import random_style
from shardline.wire.errors import UsageError

_SIGN_SHARE = 0.6  # of a plate's width: signs must leave room for plates
_LEAST_CONTRAST = 45  # of each character, in luma, before the camera lowers it; less only where fine strokes have less


@dataclass(frozen=True, slots=True, kw_only=True)
class _Canvas:
    """A picture in the making."""

    random: np.random.Generator
    scene: Scene
    fonts: tuple[str, ...]
    image: Image.Image
    taken: list[Box] = field(default_factory=list)


def draw_picture(
    random: np.random.Generator, scene: Scene, fonts: tuple[str, ...], backgrounds: Backgrounds
) -> DrawnPicture:
    """Draw one picture.

    Raises:
        FileError, MissingPackageError: a font cannot be read.
        DatasetError: a photograph cannot be read.
    """
    image, name = backgrounds.crop(random, scene.size)
    canvas = _Canvas(random=random, scene=scene, fonts=fonts, image=image)
    count = 0 if random.random() < scene.empty else int(random.integers(scene.plates[0], scene.plates[1] + 1))
    widths = sorted((_random_width(canvas) for _ in range(count)), reverse=True)
    plates = [plate for width in widths if (plate := _draw_some_plate(canvas, width))]
    signs = _draw_signs(canvas) if random.random() < scene.signs else []
    hidden = []
    if any(random.random() < scene.covered for _ in plates):
        hidden.append(_cover(canvas, plates, backgrounds))
    if scene.covered_characters:
        hidden += [_cover_characters(canvas, plate, backgrounds) for plate in plates]
    if hidden:
        plates = [with_visibility(plate, scene.size, np.maximum.reduce(hidden)) for plate in plates]
    effects = random_effects(random, scene.camera, _finest_px(plates))
    return DrawnPicture(
        pixels=expose(random, image, effects, scene.camera),
        plates=tuple(plates),
        signs=tuple(signs),
        background=name,
        exposure=effects,
    )


def draw_onto(
    random: np.random.Generator,
    photo: Image.Image,
    text: PlateText,
    scene: Scene,
    fonts: tuple[str, ...],
    width_px: float,
) -> DrawnPlate:
    """Draw one plate with this text, `width_px` wide, at a random position into a photograph (RGB).

    Kinds, rotation, tilt and wear follow the scene; nothing else is drawn.

    Raises:
        UsageError: there is no room for it.
        FileError, MissingPackageError: its font cannot be read.
    """
    of_photo = replace(scene, size=photo.size, least_width_px=8, cut_off=0.0)
    canvas = _Canvas(random=random, scene=of_photo, fonts=fonts, image=photo)
    plate = _draw_plate(canvas, text, width_px)
    if plate is None:
        raise UsageError(
            f"a plate of {width_px:.0f} pixels has no room in {photo.width} x {photo.height}: make it smaller"
        )
    return plate


def _draw_some_plate(canvas: _Canvas, width_px: float) -> DrawnPlate | None:
    """Draw a plate, half as wide where there is no room for it; None where there is no room for that one either."""
    text = canvas.scene.text or random_text(canvas.random, canvas.scene.grammar)
    smaller_px = max(width_px / 2, canvas.scene.least_width_px)
    return _draw_plate(canvas, text, width_px) or _draw_plate(canvas, text, smaller_px)


def _draw_plate(canvas: _Canvas, text: PlateText, width_px: float) -> DrawnPlate | None:
    random, scene = canvas.random, canvas.scene
    plate_type = scene.types[random.integers(0, len(scene.types))]
    style = random_style(random, scene.grammar, plate_type, canvas.fonts)
    spot = find_position(random, scene, canvas.taken, style.aspect, width_px)
    if spot is None:
        return None
    gain = _gain(canvas, spot.outline)
    for level in float(random.uniform(0, scene.wear)) * np.array((1, 0.5, 0)):
        face = draw_face(random, text, plate_type, style, spot.face_height_px, level)
        if face.contrast * gain >= _LEAST_CONTRAST:
            break
    gain = max(gain, min(1.0, _LEAST_CONTRAST / max(face.contrast, 1.0)))
    matrix = _put(canvas, face, spot, gain)
    plate = DrawnPlate(
        kind=plate_type.name,
        text=text,
        font=style.font.family,
        outline=spot.outline,
        level=float(level),
        contrast=face.contrast * gain,
        annotations=annotate(face, matrix, text, scene.grammar, plate_type),
    )
    return with_visibility(plate, scene.size, None)


def _draw_signs(canvas: _Canvas) -> list[Outline]:
    random, scene = canvas.random, canvas.scene
    outlines = []
    for _ in range(random.integers(1, 1 + scene.most_signs)):
        types = scene.grammar.types
        style = random_style(random, scene.grammar, types[random.integers(0, len(types))], canvas.fonts)
        spot = find_position(random, scene, canvas.taken, style.aspect, _SIGN_SHARE * _random_width(canvas))
        if spot:
            # without such writing no random number is drawn for it, so that a seed keeps its pictures
            if scene.writing and random.random() < scene.writing:
                rows = any_writing(random, scene.grammar)
            else:
                rows = (unlike_plates(random, scene.grammar),)
            sign = draw_sign(random, rows, style, spot.face_height_px, scene.wear)
            _put(canvas, sign, spot, _gain(canvas, spot.outline))
            outlines.append(spot.outline)
    return outlines


def _random_width(canvas: _Canvas) -> float:
    """A random width of a plate, uniform in its logarithm: small ones are as likely as large ones."""
    most = canvas.scene.most_width * canvas.scene.size[0]
    return float(np.exp(canvas.random.uniform(np.log(canvas.scene.least_width_px), np.log(most))))


def _put(canvas: _Canvas, face: PlateFace, spot: BoardPosition, gain: float) -> Matrix:
    """Draw a face into the picture, its brightness times `gain`; return its homography, float64 [3, 3]."""
    board = face.board
    unit = board.height
    # the plate is whole pixels wide on the face, so its proportions may differ a little from the style's
    fit = np.diag((face.aspect * unit / board.width, 1.0, 1.0))
    middle = move(-(board.left + board.right) / 2, -(board.top + board.bottom) / 2)
    matrix = spot.matrix @ scale(1 / unit) @ fit @ middle
    paste_warped(canvas.image, _times(face.image, gain), matrix, oversampling(spot.outline.width_px))
    return matrix


def _gain(canvas: _Canvas, outline: Outline) -> float:
    """The gain that makes a board about as bright as its surroundings; 1 in some pictures."""
    if canvas.random.random() < 0.3:
        return 1.0
    left, top, right, bottom = (int(value) for value in outline.box)
    around = canvas.image.crop((left, top, right + 1, bottom + 1)).convert("L").resize((1, 1), Image.Resampling.BOX)
    grey = float(np.asarray(around)[0, 0])
    return float(np.clip(0.5 + 0.5 * grey / 128, 0.55, 1.1) * canvas.random.uniform(0.9, 1.1))


def _times(face: Image.Image, gain: float) -> Image.Image:
    """Multiply the colours of an RGBA picture by `gain`."""
    grey = np.arange(256)
    lit = np.minimum(grey * gain, 255).astype(int)
    return face.point(np.concatenate((lit, lit, lit, grey)).tolist())


def _cover(canvas: _Canvas, plates: Sequence[DrawnPlate], backgrounds: Backgrounds) -> Mask:
    """Cover a part of one of the plates, and perhaps of its neighbours; return the mask."""
    plate = plates[int(canvas.random.integers(0, len(plates)))]
    other, _ = backgrounds.crop(canvas.random, canvas.scene.size)
    return occlude(canvas.random, canvas.image, other, plate.outline.corners)


def _cover_characters(canvas: _Canvas, plate: DrawnPlate, backgrounds: Backgrounds) -> Mask:
    """Cover as many of a plate's characters as the scene says; return the mask."""
    characters = [annotation for annotation in plate.annotations if len(annotation.label) == 1]
    count = min(canvas.scene.covered_characters, len(characters))
    quads = [characters[index].quad for index in canvas.random.choice(len(characters), count, replace=False)]
    other, _ = backgrounds.crop(canvas.random, canvas.scene.size)
    return occlude_quads(canvas.random, canvas.image, other, quads, _usual_colour(canvas.image, plate.outline.box))


def _usual_colour(image: Image.Image, box: Box) -> Colour:
    """The median of a box's colours, which on a plate is the ground's."""
    left, top, right, bottom = (int(value) for value in box)
    pixels = np.asarray(image.crop((left, top, right + 1, bottom + 1))).reshape(-1, 3)
    red, green, blue = (int(value) for value in np.median(pixels, axis=0))
    return red, green, blue


def _finest_px(plates: Sequence[DrawnPlate]) -> float:
    """The height of the smallest character; a usual one where there is none."""
    heights = [
        annotation.box[3] - annotation.box[1]
        for plate in plates
        for annotation in plate.annotations
        if len(annotation.label) == 1
    ]
    return min(heights, default=16.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateStream:
    """The pictures of one seed, by number. It is picklable: it holds no picture, and each process reads what it needs.

    A picture follows from the seed, its number, the scene, the fonts and the backgrounds' files alone: to the byte on
    one machine with the same versions of numpy, Pillow and the fonts.
    """

    seed: int
    scene: Scene
    fonts: tuple[str, ...]  # families, of fonts.families
    backgrounds: Backgrounds

    def draw(self, index: int) -> DrawnPicture:
        """Draw picture `index`, 0 or above.

        Raises:
            FileError, MissingPackageError: a font cannot be read.
            DatasetError: a photograph cannot be read.
        """
        random = np.random.Generator(np.random.PCG64(np.random.SeedSequence((self.seed, index))))
        return draw_picture(random, self.scene, self.fonts, self.backgrounds)
