"""Degradation of a plate and its picture: wear, dirt, light, occlusion, and the camera's blur, noise and JPEG.

Wear and light are drawn on the face of a plate, so that they are warped and blurred with it; their `level` is 0 (new)
to 1, at which a plate can still be read. The camera moves nothing, so that boxes stay exact.
"""

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from shardline.training.plates.geometry import Points

Colour = tuple[int, int, int]
Mask = NDArray[np.uint8]  # [height, width] of the picture, 255 where something is covered

_SPECKS = 40  # at most
_SCRATCHES = 8  # at most
_COARSE = 4  # soft shapes are drawn at 1 / _COARSE of their size
_ROOM = 1.15  # sides of the cover of a single character, over the character's own
_LEAST_BLUR_PX = 0.25  # a weaker blur is invisible


def thin_paint(random: np.random.Generator, mask: Image.Image, level: float) -> Image.Image:
    """Remove paint in places from a mask of characters (mode L)."""
    least = 255 - int(140 * level)
    return ImageChops.multiply(mask, _cloud(random, mask.size, mask.height / 6, least, 255 + (255 - least)))


def wear(random: np.random.Generator, face: Image.Image, level: float) -> Image.Image:
    """Add dirt, specks, scratches and faded colours to a face (mode RGB)."""
    if random.random() < 0.6 * level:
        face = _grime(random, face, 200 * level)
    draw = ImageDraw.Draw(face)
    if random.random() < 0.5 * level:
        _specks(random, draw, face, int(random.integers(1, 2 + int(_SPECKS * level))))
    if random.random() < 0.4 * level:
        _scratches(random, draw, face, int(random.integers(1, 2 + int(_SCRATCHES * level))))
    if random.random() < 0.4 * level:
        grey = int(random.integers(70, 190))
        face = Image.blend(face, Image.new("RGB", face.size, (grey, grey, grey)), random.uniform(0, 0.4 * level))
    return face


def light(random: np.random.Generator, face: Image.Image, level: float) -> Image.Image:
    """Add uneven light, a shadow and a reflection to a face (mode RGB)."""
    cells = random.integers(255 - int(110 * level), 256, (2, 2), dtype=np.uint16).astype(np.uint8)
    face = _multiply(face, Image.fromarray(cells).resize(face.size, Image.Resampling.BILINEAR))
    if random.random() < 0.35 * level:
        face = _multiply(face, _shadow(random, face.size))
    if random.random() < 0.3 * level:
        glare = _reflection(random, face.size, int(random.integers(40, 60 + int(90 * level))))
        face = ImageChops.screen(face, Image.merge("RGB", (glare, glare, glare)))
    return face


def _cloud(random: np.random.Generator, size: tuple[int, int], cell_px: float, low: int, high: int) -> Image.Image:
    """Smooth random grey between `low` and `high`, clipped to 0 to 255, mode L; its spots are about `cell_px` large."""
    columns, rows = (max(2, int(side / max(cell_px, 2.0))) for side in size)
    cells = np.clip(random.integers(low, high + 1, (rows, columns)), 0, 255).astype(np.uint8)
    return Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC)


def _grime(random: np.random.Generator, face: Image.Image, most: float) -> Image.Image:
    """Dirt in clouds of random extent and thickness."""
    start = int(random.integers(-250, 20))
    thickness = _cloud(
        random, face.size, face.height / random.uniform(1.5, 8), start, int(random.uniform(80, most + 81))
    )
    red = int(random.integers(50, 150))
    earth = (red, int(red * random.uniform(0.75, 0.95)), int(red * random.uniform(0.5, 0.85)))
    return Image.composite(Image.new("RGB", face.size, earth), face, thickness.point([min(n, 150) for n in range(256)]))


def _specks(random: np.random.Generator, draw: ImageDraw.ImageDraw, face: Image.Image, count: int) -> None:
    across, down = random.uniform(0, face.width, count), random.uniform(0, face.height, count)
    radii, greys = face.height * random.uniform(0.004, 0.022, count), random.integers(30, 130, count)
    for x, y, radius, grey in zip(across, down, radii, greys, strict=True):
        draw.ellipse(
            (x - radius, y - radius, x + radius, y + radius), fill=(int(grey), int(grey * 0.9), int(grey * 0.75))
        )


def _scratches(random: np.random.Generator, draw: ImageDraw.ImageDraw, face: Image.Image, count: int) -> None:
    starts = random.uniform((0, 0), face.size, (count, 2))
    ends = starts + random.normal(0, face.height * 0.6, (count, 2))
    for start, end, grey in zip(starts, ends, random.integers(60, 230, count), strict=True):
        fill = (int(grey), int(grey), int(grey))
        draw.line([tuple(start), tuple(end)], fill=fill, width=max(1, int(face.height * random.uniform(0, 0.02))))


def _shadow(random: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """A shadow with a straight edge across the face: 255 in the sun, less beyond; mode L."""
    width, height = size
    shade = Image.new("L", size, 255)
    corner, far = (0, height) if random.random() < 0.5 else (height, 0)
    ends = random.uniform(-0.2 * width, 1.2 * width, 2)
    outline = [(ends[0], corner), (ends[1], far), (2 * width, far), (2 * width, corner)]
    ImageDraw.Draw(shade).polygon(outline, fill=int(random.integers(95, 200)))
    return shade.filter(ImageFilter.BoxBlur(random.uniform(0.0, 0.08) * height))


def _reflection(random: np.random.Generator, size: tuple[int, int], strength: int) -> Image.Image:
    """A bright spot or band with soft edges, mode L."""
    width, height = (max(4, side // _COARSE) for side in size)
    glare = Image.new("L", (width, height))
    x, y = random.uniform(0, width), random.uniform(0, height)
    across, down = random.uniform(0.1, 0.9, 2) * (width / 3, height / 2)
    ImageDraw.Draw(glare).ellipse((x - across, y - down, x + across, y + down), fill=strength)
    soft = glare.filter(ImageFilter.GaussianBlur(random.uniform(0.05, 0.3) * height))
    return soft.resize(size, Image.Resampling.BILINEAR)


def _multiply(face: Image.Image, shade: Image.Image) -> Image.Image:
    return ImageChops.multiply(face, Image.merge("RGB", (shade, shade, shade)))


def occlude(random: np.random.Generator, picture: Image.Image, other: Image.Image, corners: Points) -> Mask:
    """Cover a part of the plate with these corners, float64 [4, 2], and return the mask, uint8 [height, width].

    The cover has a plain colour or the texture of `other`.
    """
    mask = Image.new("L", picture.size)
    shapes: tuple[Callable[[np.random.Generator, ImageDraw.ImageDraw, Points], None], ...] = (_bar, _corner, _blot)
    shapes[random.integers(0, len(shapes))](random, ImageDraw.Draw(mask), corners)
    if random.random() < 0.5:
        mask = mask.filter(ImageFilter.BoxBlur(1))
    colour = tuple(int(value) for value in random.integers(10, 200, 3))
    picture.paste(other if random.random() < 0.5 else Image.new("RGB", picture.size, colour), mask=mask)
    return np.asarray(mask)


def occlude_quads(
    random: np.random.Generator, picture: Image.Image, other: Image.Image, quads: Sequence[Points], plain: Colour
) -> Mask:
    """Cover quadrilaterals, each float64 [4, 2], with a little around them; return the mask, uint8 [height, width].

    The cover has the colour `plain`, a random one, or the texture of `other`.
    """
    mask = Image.new("L", picture.size)
    for quad in quads:
        centre = quad.mean(axis=0)
        ImageDraw.Draw(mask).polygon(
            [tuple(corner) for corner in (centre + _ROOM * (quad - centre)).tolist()], fill=255
        )
    red, green, blue = (int(value) for value in random.integers(10, 246, 3))
    colour = plain if random.random() < 0.5 else (red, green, blue)
    picture.paste(other if random.random() < 0.3 else Image.new("RGB", picture.size, colour), mask=mask)
    return np.asarray(mask)


def _bar(random: np.random.Generator, draw: ImageDraw.ImageDraw, corners: Points) -> None:
    """A pole, a rope, a branch across the plate."""
    upper_left, upper_right, lower_right, lower_left = corners
    height = float(np.hypot(*(lower_left - upper_left)))
    start, end = random.uniform(0, 1), random.uniform(0, 1)
    ends = np.array([upper_left + start * (upper_right - upper_left), lower_left + end * (lower_right - lower_left)])
    ends += (ends[0] - ends[1]) * ((0.4,), (-0.4,))
    draw.line([tuple(end) for end in ends.tolist()], fill=255, width=max(1, int(height * random.uniform(0.03, 0.4))))


def _corner(random: np.random.Generator, draw: ImageDraw.ImageDraw, corners: Points) -> None:
    """An object in front of one end of the plate, or of its lower or upper edge."""
    side = int(random.integers(0, 4))
    first, second, third, fourth = np.roll(corners, -side, axis=0)
    depths = random.uniform(0.05, 0.35) * random.uniform(0.6, 1.4, 2)
    inner = second + depths[0] * (third - second), first + depths[1] * (fourth - first)
    outer = first + 0.5 * (first - fourth), second + 0.5 * (second - third)
    draw.polygon([tuple(corner.tolist()) for corner in (*outer, *inner)], fill=255)


def _blot(random: np.random.Generator, draw: ImageDraw.ImageDraw, corners: Points) -> None:
    """A spot with a ragged edge somewhere on the plate."""
    upper_left, upper_right, _, lower_left = corners
    height = float(np.hypot(*(lower_left - upper_left)))
    middle = upper_left + random.random() * (upper_right - upper_left) + random.random() * (lower_left - upper_left)
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    radii = height * random.uniform(0.08, 0.35) * random.uniform(0.6, 1.3, 12)
    edge = middle + radii[:, None] * np.array([np.cos(angles), np.sin(angles)]).T
    draw.polygon([tuple(point) for point in edge.tolist()], fill=255)


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraEffects:
    """Camera effects of one picture."""

    blur_px: float  # sigma
    motion_px: int  # length of the motion blur; 0: none
    noise: float  # sigma, of 255
    jpeg_quality: int | None


def random_effects(random: np.random.Generator, level: float, finest_px: float) -> CameraEffects:
    """Draw camera effects at random.

    Args:
        level: 0 (none) to 1.
        finest_px: height of the smallest character, which must stay legible.
    """
    blur = random.uniform(0, 0.07) * finest_px * level if random.random() < 0.5 else 0.0
    motion = int(random.uniform(0, 0.2) * finest_px * level) if random.random() < 0.2 else 0
    noise = random.uniform(0, 11) * level if random.random() < 0.6 else 0.0
    worst = 90 - 55 * level * min(1.0, finest_px / 16)
    quality = int(random.uniform(worst, 96)) if random.random() < 0.6 * min(1.0, 2 * level) else None
    return CameraEffects(
        blur_px=min(blur, 4.0) if blur >= _LEAST_BLUR_PX else 0.0,
        motion_px=min(motion, 15) if motion > 1 else 0,
        noise=noise,
        jpeg_quality=quality,
    )


def expose(
    random: np.random.Generator, picture: Image.Image, effects: CameraEffects, level: float
) -> NDArray[np.uint8]:
    """Take a picture (RGB) with the camera's effects -> uint8 [height, width, 3]."""
    pixels = np.asarray(picture.point(_tones(random, level)))
    if effects.blur_px:
        pixels = _blur(pixels, effects.blur_px)
    if effects.motion_px:
        pixels = _smear(pixels, effects.motion_px, upright=random.random() < 0.3)
    if effects.noise:
        pixels = _noisy(random, pixels, effects.noise)
    if effects.jpeg_quality is not None:
        pixels = _jpeg(pixels, effects.jpeg_quality)
    return np.array(pixels)


def _tones(random: np.random.Generator, level: float) -> list[int]:
    """Random gamma, contrast, brightness and white balance, as 256 values each for red, green and blue in one list."""
    gamma = 2 ** random.uniform(-0.45 * level, 0.45 * level)
    contrast = random.uniform(1 - 0.25 * level, 1 + 0.2 * level)
    brightness = random.uniform(-35, 35) * level
    balance = random.uniform(1 - 0.12 * level, 1 + 0.12 * level, (3, 1))
    grey = np.arange(256)
    curve = 255 * (grey / 255) ** gamma
    tones = (curve - 128) * contrast + 128 + brightness
    found: list[int] = np.clip(tones * balance, 0, 255).round().astype(int).ravel().tolist()
    return found


def _blur(pixels: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    """A separable Gaussian blur in 16-bit integers: for small sigmas several times as fast as Pillow's."""
    reach = math.ceil(2.5 * sigma)
    taps = np.exp(-((np.arange(1, reach + 1) / sigma) ** 2) / 2)
    weights = np.round(256 * taps / (1 + 2 * taps.sum())).astype(np.uint16)
    middle = np.uint16(256 - 2 * weights.sum())
    for axis in (0, 1):
        length = pixels.shape[axis]
        pad = [(reach, reach) if dimension == axis else (0, 0) for dimension in range(3)]
        lines = np.moveaxis(np.pad(pixels, pad, "edge"), axis, 0)  # a view: `axis` comes first
        total = lines[reach : reach + length] * middle
        for distance, weight in enumerate(weights, 1):
            sooner, later = lines[reach - distance :], lines[reach + distance :]
            total += np.add(sooner[:length], later[:length], dtype=np.uint16) * weight
        pixels = np.moveaxis(((total + np.uint16(128)) >> 8).astype(np.uint8), 0, axis)
    return pixels


def _smear(pixels: NDArray[np.uint8], length: int, *, upright: bool) -> NDArray[np.uint8]:
    """Motion blur: the mean over `length` pixels along one axis, centred, by cumulative sums."""
    axis = 0 if upright else 1
    before = (length - 1) // 2
    pad = [(0, 0), (0, 0), (0, 0)]
    pad[axis] = (before + 1, length - 1 - before)
    total = np.cumsum(np.pad(pixels, pad, "edge"), axis=axis, dtype=np.uint32)
    later, sooner = (np.take(total, range(n, n + pixels.shape[axis]), axis=axis) for n in (length, 0))
    return ((later - sooner) // length).astype(np.uint8)


def _noisy(random: np.random.Generator, pixels: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    """Noise from the sum of two uniform ones: it looks like normal noise and is several times as fast to draw."""
    channels = 1 if random.random() < 0.4 else 3
    shape = (2, *pixels.shape[:2], channels)
    drawn = random.integers(0, 256, shape, dtype=np.uint8)
    grain = np.add(drawn[0], drawn[1], dtype=np.int16)
    grain -= 255  # now its sigma is 104.5
    grain *= round(sigma * 256 / 104.5)
    grain >>= 8
    noisy: NDArray[np.int16] = np.add(pixels, grain, dtype=np.int16)
    return np.asarray(noisy.clip(0, 255), np.uint8)


def _jpeg(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    with io.BytesIO() as buffer:
        Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
        return np.asarray(Image.open(buffer).convert("RGB"))
