"""A folder of pictures that a small network learns to tell within seconds: discs, bars and checks, in any colour."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

CLASSES = ("bars", "checks", "disc")
_WIDTH, _HEIGHT = 40, 32


def draw_shapes(folder: Path, train: int = 16, test: int = 6, seed: int = 0) -> Path:
    """FOLDER/train/CLASS/*.png and test/: so many of each class; -> `folder`."""
    random = np.random.default_rng(seed)
    for split, count in (("train", train), ("test", test)):
        for name in CLASSES:
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                _draw(random, name).save(folder / split / name / f"{number:03}.png")
    return folder


def _draw(random: np.random.Generator, name: str) -> Image.Image:
    dark, light = random.integers(0, 100, 3), random.integers(150, 256, 3)
    image = Image.new("RGB", (_WIDTH, _HEIGHT), tuple(dark.tolist()))
    draw, colour = ImageDraw.Draw(image), tuple(light.tolist())
    step = int(random.integers(4, 7))
    if name == "disc":
        x, y = int(random.integers(14, _WIDTH - 14)), int(random.integers(12, _HEIGHT - 12))
        radius = int(random.integers(9, 12))
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
        return image
    for left in range(0, _WIDTH, 2 * step):
        if name == "bars":
            draw.rectangle((left, 0, left + step - 1, _HEIGHT), fill=colour)
            continue
        for top in range(0, _HEIGHT, step):
            shift = step * (top // step % 2)
            draw.rectangle((left + shift, top, left + shift + step - 1, top + step - 1), fill=colour)
    return image
