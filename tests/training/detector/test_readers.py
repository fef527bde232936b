"""The two readers: crops that look the same whatever their size, position and colours, and logits for each of them."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from shardline.training.detector.readers import (
    CHARACTER_SIDE,
    PLATE_SIZE,
    CharacterReader,
    TextReader,
    crop_boards,
    crop_characters,
)
from shardline.training.plates.fonts import open_font, random_font

FONT = random_font(np.random.default_rng(0), ("inter",))
Colour = tuple[int, ...]
GROUND, INK = (200, 190, 180), (20, 30, 40)

WIDTH, HEIGHT = 320, 240


def drawn(
    text: str, at: tuple[int, int], size_px: int, ground: Colour = GROUND, ink: Colour = INK
) -> tuple[Tensor, Tensor]:
    """A picture of 160 × 120 with `text` in it, uint8 [1, 3, 120, 160], and the box of its ink, [1, 1, 4]."""
    image = Image.new("RGB", (160, 120), ground)
    draw = ImageDraw.Draw(image)
    font = open_font(FONT, size_px)
    draw.text(at, text, ink, font)
    box = torch.tensor(draw.textbbox(at, text, font=font), dtype=torch.float32)
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).reshape(120, 160, 3)
    return pixels.permute(2, 0, 1)[None], box.reshape(1, 1, 4)


def apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).square().mean().sqrt())


def test_large_and_small_characters_look_the_same_and_others_do_not() -> None:
    seen = {(text, size): crop_characters(*drawn(text, (30, 20), size)) for text, size in product("37", (24, 60))}

    assert all(item.shape == (1, 3, CHARACTER_SIDE, CHARACTER_SIDE) for item in seen.values())
    same = apart(seen["3", 24], seen["3", 60])
    assert same < 0.5 * apart(seen["3", 24], seen["7", 24])
    assert same < 0.3


def test_neither_place_nor_light_matters() -> None:
    plain = crop_characters(*drawn("7", (30, 20), 40))

    assert apart(plain, crop_characters(*drawn("7", (91, 43), 40))) < 0.05
    dim = [tuple(item // 2 + 10 for item in colour) for colour in (GROUND, INK)]
    assert apart(plain, crop_characters(*drawn("7", (30, 20), 40, *dim))) < 0.1


def test_a_plain_ground_is_not_made_to_look_like_something() -> None:
    flat = torch.full((1, 3, 64, 64), 90, dtype=torch.uint8)
    flat[..., ::7] += 1

    assert float(crop_characters(flat, torch.tensor([[[10.0, 10, 30, 40]]])).abs().max()) < 0.3


@pytest.mark.parametrize(
    "box", [(-20, -30, 10, 10), (150, 100, 200, 160), (500, 500, 520, 540), (5, 5, 5, 5), (9, 9, 1, 1)]
)
def test_boxes_beyond_the_picture_or_without_area_are_looked_at_all_the_same(box: tuple[int, ...]) -> None:
    seen = crop_characters(drawn("7", (30, 20), 40)[0], torch.tensor(box, dtype=torch.float32).reshape(1, 1, 4))

    assert torch.isfinite(seen).all()


def test_each_box_is_looked_at_in_its_own_picture() -> None:
    first, second = drawn("3", (30, 20), 40), drawn("8", (60, 50), 30)
    pictures = torch.cat((first[0], second[0]))
    boxes = torch.cat((torch.cat((first[1], second[1]), dim=1), torch.cat((second[1], first[1]), dim=1)))
    torch.manual_seed(0)
    reader = CharacterReader(15, normed=False).eval()
    with torch.inference_mode():
        said = reader(pictures, boxes)
        alone = [reader(*first), reader(*second)]

    assert said.shape == (2, 2, 15)
    assert said.dtype == torch.float32
    assert torch.allclose(said[0, 0], alone[0][0, 0], atol=1e-5)
    assert torch.allclose(said[1, 0], alone[1][0, 0], atol=1e-5)
    assert not torch.allclose(said[0, 0], said[1, 0], atol=1e-3)


def drawn_plate(
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


@pytest.mark.parametrize("angle", [0, 12, -20, 30])
@pytest.mark.parametrize("plate", [(90, 20), (200, 44)])
def test_a_board_is_turned_upright_and_brought_to_one_size(plate: tuple[int, int], angle: float) -> None:
    usual = crop_boards(*drawn_plate("12A 3456", (180, 40)))
    seen = crop_boards(*drawn_plate("12A 3456", plate, angle))

    assert seen.shape == (1, 3, *PLATE_SIZE)
    assert apart(seen, usual) < 0.6 * apart(crop_boards(*drawn_plate("98E 7777", (180, 40))), usual)


def test_a_board_fills_its_cut_out_with_a_little_room_around() -> None:
    seen = crop_boards(*drawn_plate("", (160, 60), 10))[0].mean(0)

    inside = seen > seen.mean()
    assert float(inside.float().mean()) == pytest.approx(1 / 1.15**2, abs=0.05)
    assert not inside[0].any()
    assert not inside[:, 0].any()


@pytest.mark.parametrize("box", [(-80, -30, 10, 10), (300, 200, 400, 260), (5, 5, 5, 5), (90, 90, 1, 1)])
@pytest.mark.parametrize("turn", [(1, 0), (0, 1), (0.7, 0.7), (0, 0), (-1, 0)])
def test_boxes_beyond_the_picture_without_area_or_direction_are_read_all_the_same(
    box: tuple[int, ...], turn: tuple[float, ...]
) -> None:
    pixels, *_ = drawn_plate("12A 3456", (90, 20))
    said = TextReader(15, 7, normed=False).eval()(
        pixels,
        torch.tensor(box, dtype=torch.float32).view(1, 1, 4),
        torch.tensor(turn, dtype=torch.float32).view(1, 1, 2),
    )

    assert said.shape == (1, 1, 7, 16)
    assert said.isfinite().all()


def test_each_board_is_read_in_its_own_picture() -> None:
    boards = [drawn_plate(text, (120, 30), at=at) for text, at in (("12A 3456", (100, 90)), ("77B 0000", (200, 150)))]
    pixels, boxes, turns = (torch.cat(item) for item in zip(*boards, strict=True))
    model = TextReader(15, 7, normed=False).eval()

    both = model(pixels, boxes, turns)
    alone = torch.cat([model(*board) for board in boards])

    assert torch.allclose(both, alone, atol=1e-4)
    assert not torch.allclose(both[0], both[1], atol=1e-3)
