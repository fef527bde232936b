"""A drawn video of 100 frames, read by the detector that ships: the vote is right where single frames fail."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from e2e.conftest import shardline, up
from PIL import Image, ImageDraw, ImageFilter
from services.videos import draw_video

from shardline.tasks.plates.text import PlateText
from shardline.training.plates.fonts import families
from shardline.training.plates.picture import draw_onto
from shardline.training.plates.scene import Scene

pytestmark = pytest.mark.heavy

SIZE = (512, 384)
TEXT = PlateText(groups=("47C", "8193"))


def photograph() -> Image.Image:
    spec = find_spec("skimage")
    assert spec is not None
    assert spec.origin is not None
    with Image.open(Path(spec.origin).parent / "data" / "coffee.png") as opened:
        return opened.convert("RGB").resize(SIZE)


def plate(random: np.random.Generator) -> Image.Image:
    ground = Image.new("RGB", SIZE, (90, 90, 90))
    drawn = draw_onto(random, ground, TEXT, Scene(rotation_deg=0, tilt_deg=0, wear=0.3), families("train"), 120)
    left, top, right, bottom = drawn.outline.box
    return ground.crop((int(left), int(top), int(right) + 1, int(bottom) + 1))


def frame(random: np.random.Generator, ground: Image.Image, board: Image.Image, number: int) -> Image.Image:
    """The board drives past; in half of the frames a post covers a part of it, and all are blurred and noisy."""
    image = ground.copy()
    x, y = 20 + 3 * number, 120 + int(40 * np.sin(number / 15))
    image.paste(board, (x, y))
    if random.random() < 0.5:
        post = x + int(random.integers(0, board.width - 14))
        ImageDraw.Draw(image).rectangle((post, y - 4, post + 12, y + board.height + 4), fill=(60, 50, 40))
    blurred = image.filter(ImageFilter.GaussianBlur(random.uniform(0.3, 1.8)))
    noise = random.normal(0, random.uniform(2, 25), (*SIZE[::-1], 3))
    return Image.fromarray(np.clip(np.asarray(blurred, float) + noise, 0, 255).astype(np.uint8))


def test_a_plate_is_read_by_the_vote_of_all_frames(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    board, ground = plate(random), photograph()
    video = tmp_path / "drive.mp4"
    draw_video(video, (frame(random, ground, board, number) for number in range(100)), SIZE)
    shardline("build", "plates", "--stages", "1", "--out", str(tmp_path / "plates"), timeout_s=900)

    with up(tmp_path / "plates", tmp_path) as chain:
        result = shardline("request", "--video", str(video), "--url", chain.url, "--json", timeout_s=900)
    (found,) = map(json.loads, result.stdout.splitlines())
    assert (found["sub_text"], found["main_text"]) == TEXT.groups
    assert found["votes"] < 70  # single frames do not show it, or are read only in part
    assert found["frames"] > 50
