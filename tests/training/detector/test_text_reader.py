"""What the reader of texts sees of each board is the same whatever its size, its place, its turn and its colours."""

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from shardline.training.detector.text_reader import SIZE, TextReader, cut_out_boards
from shardline.training.plates.fonts import open_font, random_font

FONT = random_font(np.random.default_rng(0), ("inter",))
WIDTH, HEIGHT = 320, 240


def drawn(
    text: str, plate: tuple[int, int], angle: float = 0.0, at: tuple[int, int] = (160, 120)
) -> tuple[Tensor, ...]:
    """A picture with one plate of this width and height, turned clockwise; its box; its direction."""
    width, height = plate
    face = Image.new("RGB", (8 * width, 8 * height), (230, 230, 220))
    size = 5 * height
    font = open_font(FONT, size)
    ImageDraw.Draw(face).text((4 * width, 4 * height), text, (20, 20, 30), font, anchor="mm")
    picture = Image.new("RGB", (WIDTH, HEIGHT), (90, 110, 90))
    small = face.resize(plate, Image.Resampling.LANCZOS).convert("RGBA").rotate(-angle, Image.Resampling.BICUBIC, True)
    picture.paste(small, (at[0] - small.width // 2, at[1] - small.height // 2), small)
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    wide, high = width * cos + height * abs(sin), width * abs(sin) + height * cos
    box = torch.tensor([at[0] - wide / 2, at[1] - high / 2, at[0] + wide / 2, at[1] + high / 2])
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
    return pixels, box.reshape(1, 1, 4), torch.tensor([[[cos, sin]]])


def apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).square().mean().sqrt())


@pytest.mark.parametrize("angle", [0, 12, -20, 30])
@pytest.mark.parametrize("plate", [(90, 20), (200, 44)])
def test_a_board_is_turned_upright_and_brought_to_one_size(plate: tuple[int, int], angle: float) -> None:
    usual = cut_out_boards(*drawn("12A 3456", (180, 40)))
    seen = cut_out_boards(*drawn("12A 3456", plate, angle))

    assert seen.shape == (1, 3, *SIZE)
    assert apart(seen, usual) < 0.6 * apart(cut_out_boards(*drawn("98E 7777", (180, 40))), usual)


def test_a_board_fills_its_cut_out_with_a_little_room_around() -> None:
    seen = cut_out_boards(*drawn("", (160, 60), 10))[0].mean(0)

    inside = seen > seen.mean()
    assert float(inside.float().mean()) == pytest.approx(1 / 1.15**2, abs=0.05)
    assert not inside[0].any()
    assert not inside[:, 0].any()


@pytest.mark.parametrize("box", [(-80, -30, 10, 10), (300, 200, 400, 260), (5, 5, 5, 5), (90, 90, 1, 1)])
@pytest.mark.parametrize("turn", [(1, 0), (0, 1), (0.7, 0.7), (0, 0), (-1, 0)])
def test_boxes_beyond_the_picture_without_area_or_direction_are_read_all_the_same(
    box: tuple[int, ...], turn: tuple[float, ...]
) -> None:
    pixels, *_ = drawn("12A 3456", (90, 20))
    said = TextReader(15, normed=False).eval()(
        pixels,
        torch.tensor(box, dtype=torch.float32).view(1, 1, 4),
        torch.tensor(turn, dtype=torch.float32).view(1, 1, 2),
    )

    assert said.shape == (1, 1, 7, 16)
    assert said.isfinite().all()


def test_each_board_is_read_in_its_own_picture() -> None:
    boards = [drawn(text, (120, 30), at=at) for text, at in (("12A 3456", (100, 90)), ("77B 0000", (200, 150)))]
    pixels, boxes, turns = (torch.cat(each) for each in zip(*boards, strict=True))
    model = TextReader(15, normed=False).eval()

    both = model(pixels, boxes, turns)
    alone = torch.cat([model(*each) for each in boards])

    assert torch.allclose(both, alone, atol=1e-4)
    assert not torch.allclose(both[0], both[1], atol=1e-3)
