"""A picture with plates: a photograph, boards that are none, plates, what covers them, and the camera.

Everything is drawn by lot from the generator that is passed in, so that a seed gives one picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.plates.backgrounds import Backgrounds
from training.plates.camera import Exposure, expose, random_exposure
from training.plates.cover import cover
from training.plates.face import Face, draw_face, draw_sign
from training.plates.marks import Box, Plate, find, hide
from training.plates.style import random_style
from training.plates.text import KINDS, Kind, PlateText, random_text
from training.plates.warp import (
    Matrix,
    Outline,
    Pose,
    bounds,
    move,
    oversampling,
    paste_warped,
    project,
    rectangle,
    scale,
    stand,
)
from wire.errors import ModelError

# without I, O, S, Z, G and Q, which might be taken for digits, and without the letters of plates
_SIGN_LETTERS = "FHJKLMNPRTUVWXY"
_SIGN_SHARE = 0.6  # of a plate's width: signs must leave room for plates
_LEAST_CONTRAST = 45  # of each character, in luma, before the camera takes some; less only where fine strokes have less
_TRIES = 12  # to find room for one more board


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What the pictures are to be like; each is drawn by lot within this.

    Raises:
        ModelError: a value that no picture can have.
    """

    size: tuple[int, int] = (512, 512)  # width, height
    plates: tuple[int, int] = (1, 3)  # fewest and most, where there are any
    empty: float = 0.1  # share of pictures without plates
    kinds: tuple[Kind, ...] = KINDS
    text: PlateText | None = None  # on every plate; None: each its own
    least_width_px: float = 48  # of a plate
    most_width: float = 0.9  # of the picture's width
    rotation_deg: float = 20.0
    tilt_deg: float = 40.0  # about the upright axis; about the level one three quarters of it
    wear: float = 1.0  # 0: new plates in even light; 1: up to what can just be read
    camera: float = 1.0  # 0: the camera adds nothing
    covered: float = 0.12  # share of plates of which something is hidden
    cut_off: float = 0.04  # share of plates that may reach out of the picture
    signs: float = 0.3  # share of pictures with boards that are no plates

    def __post_init__(self) -> None:
        shares = {name: getattr(self, name) for name in ("empty", "wear", "camera", "covered", "cut_off", "signs")}
        wrong = [f"{name} {value:g}" for name, value in shares.items() if not 0 <= value <= 1]
        if wrong:
            raise ModelError(f"{', '.join(wrong)}: allowed is 0 to 1")
        if min(self.size) < 32:
            raise ModelError(f"pictures of {self.size[0]} x {self.size[1]}: 32 pixels a side are the least")
        if not 8 <= self.least_width_px <= self.most_width * self.size[0]:
            raise ModelError(
                f"plates of {self.least_width_px:g} pixels or more: allowed is 8 to "
                f"{self.most_width * self.size[0]:g}, {self.most_width:g} of the picture's width"
            )
        if not 0 <= self.plates[0] <= self.plates[1]:
            raise ModelError(f"{self.plates[0]} to {self.plates[1]} plates: the first must not be above the second")
        if not (0 <= self.rotation_deg <= 180 and 0 <= self.tilt_deg <= 70):
            raise ModelError("rotation may be 0 to 180 degrees and tilt 0 to 70, beyond which nothing can be read")


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    pixels: NDArray[np.uint8]  # [height, width, 3], RGB
    plates: tuple[Plate, ...]
    background: str  # its file's name
    exposure: Exposure


@dataclass(frozen=True, slots=True, kw_only=True)
class _Canvas:
    """A picture in the making."""

    random: np.random.Generator
    scene: Scene
    fonts: tuple[str, ...]
    image: Image.Image
    taken: list[Box] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spot:
    """Where there is room for a board: from plate units (see warp.stand) to the picture."""

    matrix: Matrix
    outline: Outline


def draw_picture(
    random: np.random.Generator, scene: Scene, fonts: tuple[str, ...], backgrounds: Backgrounds
) -> Picture:
    """One picture and what is in it.

    Raises:
        ModelError: a font or a photograph cannot be read.
    """
    image, name = backgrounds.part(random, scene.size)
    canvas = _Canvas(random=random, scene=scene, fonts=fonts, image=image)
    if random.random() < scene.signs:
        _draw_signs(canvas)
    count = 0 if random.random() < scene.empty else int(random.integers(scene.plates[0], scene.plates[1] + 1))
    widths = sorted((_random_width(canvas) for _ in range(count)), reverse=True)
    plates = [plate for width in widths if (plate := _draw_plate(canvas, scene.text or random_text(random), width))]
    if any(random.random() < scene.covered for _ in plates):
        plates = _cover(canvas, plates, backgrounds)
    exposure = random_exposure(random, scene.camera, _finest_px(plates))
    return Picture(
        pixels=expose(random, image, exposure, scene.camera),
        plates=tuple(plates),
        background=name,
        exposure=exposure,
    )


def draw_onto(
    random: np.random.Generator,
    photo: Image.Image,
    text: PlateText,
    scene: Scene,
    fonts: tuple[str, ...],
    width_px: float,
) -> Plate:
    """Draw one plate with this text, `width_px` wide, somewhere into a photograph (RGB); nothing else changes in it.

    Of the scene it takes kinds, rotation, tilt and wear.

    Raises:
        ModelError: there is no room for it, or its font cannot be read.
    """
    of_photo = replace(scene, size=photo.size, least_width_px=8, cut_off=0.0)
    canvas = _Canvas(random=random, scene=of_photo, fonts=fonts, image=photo)
    plate = _draw_plate(canvas, text, width_px)
    if plate is None:
        raise ModelError(
            f"a plate of {width_px:.0f} pixels has no room in {photo.width} x {photo.height}: make it smaller"
        )
    return plate


def _draw_plate(canvas: _Canvas, text: PlateText, width_px: float) -> Plate | None:
    random, scene = canvas.random, canvas.scene
    kind = scene.kinds[random.integers(0, len(scene.kinds))]
    style = random_style(random, kind, canvas.fonts)
    spot = _find_spot(canvas, style.aspect, width_px)
    if spot is None:
        return None
    gain = _gain(canvas, spot.outline)
    for level in float(random.uniform(0, scene.wear)) * np.array((1, 0.5, 0)):
        face = draw_face(random, text, kind, style, _face_height(spot, style.aspect), level)
        if face.contrast * gain >= _LEAST_CONTRAST:
            break
    gain = max(gain, min(1.0, _LEAST_CONTRAST / max(face.contrast, 1.0)))
    matrix = _put(canvas, face, spot, gain)
    plate = Plate(
        kind=kind,
        text=text,
        font=style.font.family,
        outline=spot.outline,
        level=float(level),
        contrast=face.contrast * gain,
        marks=find(face, matrix, text, kind),
    )
    return hide(plate, scene.size, None)


def _draw_signs(canvas: _Canvas) -> None:
    for _ in range(canvas.random.integers(1, 3)):
        style = random_style(canvas.random, KINDS[canvas.random.integers(0, 2)], canvas.fonts)
        spot = _find_spot(canvas, style.aspect, _SIGN_SHARE * _random_width(canvas))
        if spot:
            letters = canvas.random.integers(0, len(_SIGN_LETTERS), canvas.random.integers(0, 8))
            word = "".join(_SIGN_LETTERS[each] for each in letters)
            height = _face_height(spot, style.aspect)
            sign = draw_sign(canvas.random, word, style, height, canvas.scene.wear)
            _put(canvas, sign, spot, _gain(canvas, spot.outline))


def _random_width(canvas: _Canvas) -> float:
    """Small ones are as likely as large ones: even in the logarithm."""
    most = canvas.scene.most_width * canvas.scene.size[0]
    return float(np.exp(canvas.random.uniform(np.log(canvas.scene.least_width_px), np.log(most))))


def _random_pose(random: np.random.Generator, scene: Scene) -> Pose:
    """Most plates hang nearly straight; the rest are turned evenly up to the most that is allowed."""
    even = random.uniform(-1, 1, 3)
    mild = np.clip(random.normal(0, 0.3, 3), -1, 1)
    angle, yaw, pitch = np.where(random.random(3) < 0.5, even, mild)
    return Pose(
        angle_deg=float(angle * scene.rotation_deg),
        yaw_deg=float(yaw * scene.tilt_deg),
        pitch_deg=float(pitch * scene.tilt_deg * 0.75),
        distance=float(random.uniform(1.5, 8)),
    )


def _find_spot(canvas: _Canvas, aspect: float, width_px: float) -> _Spot | None:
    """A place where a board of this width covers no other; None where there is none, or it does not fit at all."""
    random, (width, height) = canvas.random, canvas.scene.size
    matrix = stand(_random_pose(random, canvas.scene), aspect, width_px)
    corners = project(matrix, rectangle(-aspect / 2, -0.5, aspect / 2, 0.5))
    left, top, right, bottom = bounds(corners)
    room = np.array([(-left, -top), (width - right, height - bottom)])
    if random.random() < canvas.scene.cut_off:
        room += np.array([(-1,), (1,)]) * 0.3 * (right - left, bottom - top)
    if (room[0] > room[1]).any():
        return None
    for _ in range(_TRIES):
        x, y = random.uniform(room[0], room[1])
        box = left + x, top + y, right + x, bottom + y
        if not any(_overlap(box, other) for other in canvas.taken):
            canvas.taken.append(box)
            return _Spot(matrix=move(x, y) @ matrix, outline=Outline(corners=corners + np.array((x, y))))
    return None


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _face_height(spot: _Spot, aspect: float) -> float:
    """In pixels, so that no part of the face is drawn smaller than it is seen, times the oversampling."""
    return oversampling(spot.outline.width_px) * max(spot.outline.width_px / aspect, spot.outline.height_px)


def _put(canvas: _Canvas, face: Face, spot: _Spot, gain: float) -> Matrix:
    """Draw a face into the picture, its brightness times `gain`; its matrix."""
    board = face.board
    unit = board.height
    # the face's plate is whole pixels wide, so that its proportions may be a little off the style's
    fit = np.diag((face.aspect * unit / board.width, 1.0, 1.0))
    middle = move(-(board.left + board.right) / 2, -(board.top + board.bottom) / 2)
    matrix = spot.matrix @ scale(1 / unit) @ fit @ middle
    paste_warped(canvas.image, _times(face.image, gain), matrix, oversampling(spot.outline.width_px))
    return matrix


def _gain(canvas: _Canvas, outline: Outline) -> float:
    """What makes a board about as bright as what is around it; 1 in some pictures."""
    if canvas.random.random() < 0.3:
        return 1.0
    left, top, right, bottom = (int(each) for each in outline.box)
    around = canvas.image.crop((left, top, right + 1, bottom + 1)).convert("L").resize((1, 1), Image.Resampling.BOX)
    grey = float(np.asarray(around)[0, 0])
    return float(np.clip(0.5 + 0.5 * grey / 128, 0.55, 1.1) * canvas.random.uniform(0.9, 1.1))


def _times(face: Image.Image, gain: float) -> Image.Image:
    """An RGBA picture with its colours times `gain`."""
    grey = np.arange(256)
    lit = np.minimum(grey * gain, 255).astype(int)
    return face.point(np.concatenate((lit, lit, lit, grey)).tolist())


def _cover(canvas: _Canvas, plates: Sequence[Plate], backgrounds: Backgrounds) -> list[Plate]:
    """Something before one of the plates, which may reach over to its neighbours."""
    plate = plates[int(canvas.random.integers(0, len(plates)))]
    other, _ = backgrounds.part(canvas.random, canvas.scene.size)
    hidden = cover(canvas.random, canvas.image, other, plate.outline.corners)
    return [hide(each, canvas.scene.size, hidden) for each in plates]


def _finest_px(plates: Sequence[Plate]) -> float:
    """The height of the smallest character; what is usual where there is none."""
    heights = [mark.box[3] - mark.box[1] for plate in plates for mark in plate.marks if len(mark.label) == 1]
    return min(heights, default=16.0)
