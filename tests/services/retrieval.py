"""A small bundle for the task retrieve, and pictures to look for in it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from shardline.partition.build import BuildOptions, GoldenPicture, build
from shardline.partition.indexing import PictureBatch
from shardline.partition.models import load_model
from shardline.partition.prepare import without_head
from shardline.storage.bundle import PictureSpec, stage_folder
from shardline.training.models import for_task
from shardline.training.samples import golden_picture

SIDE = 32
WIDTH = 8  # of services.small_models:residual without its head


def build_retrieval(folder: Path) -> Path:
    """Two stages, without an index."""
    model = without_head(for_task(load_model("services.small_models:residual", size=SIDE), "retrieve"))
    build(model, "likeness", random_pixels(2), BuildOptions(cuts=("two",), stages=1), folder)
    return folder


def random_pixels(count: int, seed: int = 0) -> np.ndarray:
    """uint8 [count, 3, 32, 32], each of a colour of its own, with noise."""
    random = np.random.default_rng(seed)
    colours = random.integers(0, 200, (count, 3, 1, 1))
    return (colours + random.integers(0, 56, (count, 3, SIDE, SIDE))).astype(np.uint8)


def pictures(count: int, seed: int = 0, at_once: int = 7) -> Iterator[PictureBatch]:
    """With ids "SEED/PLACE", and labels "even" and "odd"."""
    pixels = random_pixels(count, seed)
    for start in range(0, count, at_once):
        places = range(start, min(start + at_once, count))
        yield PictureBatch(
            pixels=pixels[places.start : places.stop],
            ids=tuple(f"{seed}/{place}" for place in places),
            labels=tuple("odd" if place % 2 else "even" for place in places),
        )


def prove(pixels: np.ndarray) -> GoldenPicture:
    """A golden picture of pixels, uint8 [3, 32, 32]."""
    return golden_picture(pixels, PictureSpec(height=SIDE, width=SIDE, fit="stretch"))


def index_folder(bundle: Path) -> Path:
    """The folder of the last stage, with the index."""
    return bundle / stage_folder(1)


def write_pictures(folder: Path, count: int, seed: int = 0) -> Path:
    """The same as PNG files of 32 × 32 pixels: FOLDER/even/0.png, FOLDER/odd/1.png, …"""
    for place, pixels in enumerate(random_pixels(count, seed)):
        path = folder / ("odd" if place % 2 else "even") / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(path)
    return folder
