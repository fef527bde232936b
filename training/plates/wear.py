"""What years and weather do to a plate: thin paint, dirt, specks, scratches; and the light that falls on it.

All of it is done on the face, so that it is turned and blurred together with the plate. `level` is 0 (new) to 1; at 1 a
plate can still be read.
"""

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

_SPECKS = 40
_SCRATCHES = 8
_COARSE = 4  # what is soft is drawn so many times smaller


def thin_paint(random: np.random.Generator, mask: Image.Image, level: float) -> Image.Image:
    """A mask of characters (mode L) whose paint has come off in places."""
    least = 255 - int(140 * level)
    return ImageChops.multiply(mask, _cloud(random, mask.size, mask.height / 6, least, 255 + (255 - least)))


def wear(random: np.random.Generator, face: Image.Image, level: float) -> Image.Image:
    """A face (mode RGB) with dirt, specks, scratches, and colours that have faded."""
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
    """A face (mode RGB) under uneven light, in part in shadow, with a reflection."""
    cells = random.integers(255 - int(110 * level), 256, (2, 2), dtype=np.uint16).astype(np.uint8)
    face = _multiply(face, Image.fromarray(cells).resize(face.size, Image.Resampling.BILINEAR))
    if random.random() < 0.35 * level:
        face = _multiply(face, _shadow(random, face.size))
    if random.random() < 0.3 * level:
        glare = _reflection(random, face.size, int(random.integers(40, 60 + int(90 * level))))
        face = ImageChops.screen(face, Image.merge("RGB", (glare, glare, glare)))
    return face


def _cloud(random: np.random.Generator, size: tuple[int, int], cell_px: float, low: int, high: int) -> Image.Image:
    """Smooth random grey between `low` and `high`, cut to 0 … 255, mode L; its spots are about `cell_px` large."""
    columns, rows = (max(2, int(each / max(cell_px, 2.0))) for each in size)
    cells = np.clip(random.integers(low, high + 1, (rows, columns)), 0, 255).astype(np.uint8)
    return Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC)


def _grime(random: np.random.Generator, face: Image.Image, most: float) -> Image.Image:
    """Dirt in clouds; where it begins and how thick it lies are drawn by lot."""
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
    """255 where the sun shines, less beyond a line across the face; mode L."""
    width, height = size
    shade = Image.new("L", size, 255)
    corner, far = (0, height) if random.random() < 0.5 else (height, 0)
    ends = random.uniform(-0.2 * width, 1.2 * width, 2)
    outline = [(ends[0], corner), (ends[1], far), (2 * width, far), (2 * width, corner)]
    ImageDraw.Draw(shade).polygon(outline, fill=int(random.integers(95, 200)))
    return shade.filter(ImageFilter.BoxBlur(random.uniform(0.0, 0.08) * height))


def _reflection(random: np.random.Generator, size: tuple[int, int], strength: int) -> Image.Image:
    """A bright spot or band with soft edges, mode L."""
    width, height = (max(4, each // _COARSE) for each in size)
    glare = Image.new("L", (width, height))
    x, y = random.uniform(0, width), random.uniform(0, height)
    across, down = random.uniform(0.1, 0.9, 2) * (width / 3, height / 2)
    ImageDraw.Draw(glare).ellipse((x - across, y - down, x + across, y + down), fill=strength)
    soft = glare.filter(ImageFilter.GaussianBlur(random.uniform(0.05, 0.3) * height))
    return soft.resize(size, Image.Resampling.BILINEAR)


def _multiply(face: Image.Image, shade: Image.Image) -> Image.Image:
    return ImageChops.multiply(face, Image.merge("RGB", (shade, shade, shade)))
