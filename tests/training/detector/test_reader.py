"""What the reader sees of each character is the same whatever its size, its place and its colours."""

from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from shardline.training.detector.reader import SIDE, Reader, cut_out_characters
from shardline.training.plates.fonts import open_font, random_font

FONT = random_font(np.random.default_rng(0), ("inter",))
Colour = tuple[int, ...]
GROUND, INK = (200, 190, 180), (20, 30, 40)


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
    seen = {(text, size): cut_out_characters(*drawn(text, (30, 20), size)) for text, size in product("37", (24, 60))}

    assert all(each.shape == (1, 3, SIDE, SIDE) for each in seen.values())
    same = apart(seen["3", 24], seen["3", 60])
    assert same < 0.5 * apart(seen["3", 24], seen["7", 24])
    assert same < 0.3


def test_neither_place_nor_light_matters() -> None:
    plain = cut_out_characters(*drawn("7", (30, 20), 40))

    assert apart(plain, cut_out_characters(*drawn("7", (91, 43), 40))) < 0.05
    dim = [tuple(each // 2 + 10 for each in colour) for colour in (GROUND, INK)]
    assert apart(plain, cut_out_characters(*drawn("7", (30, 20), 40, *dim))) < 0.1


def test_a_plain_ground_is_not_made_to_look_like_something() -> None:
    flat = torch.full((1, 3, 64, 64), 90, dtype=torch.uint8)
    flat[..., ::7] += 1

    assert float(cut_out_characters(flat, torch.tensor([[[10.0, 10, 30, 40]]])).abs().max()) < 0.3


@pytest.mark.parametrize(
    "box", [(-20, -30, 10, 10), (150, 100, 200, 160), (500, 500, 520, 540), (5, 5, 5, 5), (9, 9, 1, 1)]
)
def test_boxes_beyond_the_picture_or_without_area_are_looked_at_all_the_same(box: tuple[int, ...]) -> None:
    seen = cut_out_characters(drawn("7", (30, 20), 40)[0], torch.tensor(box, dtype=torch.float32).reshape(1, 1, 4))

    assert torch.isfinite(seen).all()


def test_each_box_is_looked_at_in_its_own_picture() -> None:
    first, second = drawn("3", (30, 20), 40), drawn("8", (60, 50), 30)
    pictures = torch.cat((first[0], second[0]))
    boxes = torch.cat((torch.cat((first[1], second[1]), dim=1), torch.cat((second[1], first[1]), dim=1)))
    torch.manual_seed(0)
    reader = Reader(15, normed=False).eval()
    with torch.inference_mode():
        said = reader(pictures, boxes)
        alone = [reader(*first), reader(*second)]

    assert said.shape == (2, 2, 15)
    assert said.dtype == torch.float32
    assert torch.allclose(said[0, 0], alone[0][0, 0], atol=1e-5)
    assert torch.allclose(said[1, 0], alone[1][0, 0], atol=1e-5)
    assert not torch.allclose(said[0, 0], said[1, 0], atol=1e-3)
