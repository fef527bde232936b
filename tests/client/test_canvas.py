"""Drawing on pictures: colours that differ, labels that can be read, and sizes that suit the picture."""

import numpy as np
import pytest
from PIL import Image

from shardline.client.canvas import PALETTE, Canvas, LegendRow, class_colours, ink_on

RED = PALETTE[0]


def grey(width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height), (127, 127, 127))


def count(image: Image.Image, colour: tuple[int, int, int]) -> int:
    return int((np.asarray(image) == colour).all(axis=2).sum())


def test_classes_of_a_picture_have_different_colours() -> None:
    """Also two whose indexes differ by the length of the palette; with more classes than colours, some repeat."""
    colours = class_colours([3, 23, 43, 3])

    assert len(set(colours.values())) == 3
    assert colours[3] == class_colours([3])[3] == PALETTE[3]
    assert len(set(class_colours(range(90)).values())) == len(set(PALETTE)) == len(PALETTE)


@pytest.mark.parametrize(("ground", "ink"), [((255, 255, 0), (0, 0, 0)), ((0, 0, 117), (255, 255, 255))])
def test_text_contrasts_with_its_ground(ground: tuple[int, int, int], ink: tuple[int, int, int]) -> None:
    assert ink_on(ground) == ink


def test_every_palette_colour_has_a_contrast_of_4_5_to_its_ink() -> None:
    """The least that WCAG asks of text."""
    assert [ink_on(colour) for colour in PALETTE].count((0, 0, 0)) > 10


@pytest.mark.parametrize("size", [(640, 480), (4000, 3000), (300, 1400)])
def test_a_box_is_drawn_where_it_is_said(size: tuple[int, int]) -> None:
    canvas = Canvas(grey(*size))
    left, top, right, bottom = size[0] * 0.25, size[1] * 0.25, size[0] * 0.75, size[1] * 0.75
    canvas.box((left, top, right, bottom), RED)

    rows, columns = np.nonzero((np.asarray(canvas.image) == RED).all(axis=2))
    assert (columns.min(), rows.min(), columns.max(), rows.max()) == pytest.approx((left, top, right, bottom), abs=1)
    assert canvas.image.size == size
    assert canvas.line_px == max(2, round(max(size) / 350))


def test_a_box_outside_of_the_picture_is_cut_off() -> None:
    canvas = Canvas(grey(300, 300))
    canvas.box((-50, -50, 900, 900), RED)
    canvas.box((400, 400, 500, 500), PALETTE[1])

    assert canvas.image.getpixel((0, 150)) == canvas.image.getpixel((299, 150)) == RED
    assert count(canvas.image, PALETTE[1]) == 0


def test_labels_stay_inside_and_do_not_hide_each_other() -> None:
    box = (10.0, 100.0, 200.0, 200.0)
    first, both = Canvas(grey(400, 300)), Canvas(grey(400, 300))
    first.label(box, "a label", RED)
    both.label(box, "a label", RED)
    both.label(box, "another", PALETTE[1])

    assert count(both.image, RED) == count(first.image, RED) > 0
    corner = Canvas(grey(400, 300))
    corner.label((390, 0, 400, 10), "in the corner", RED)
    assert count(corner.image, RED) > 0


def test_a_tiny_picture_is_enlarged_and_positions_with_it() -> None:
    canvas = Canvas(grey(28, 20))
    canvas.box((7, 5, 21, 15), RED)

    assert canvas.image.size == (280, 200)
    assert canvas.image.getpixel((70, 100)) == RED


def test_a_mask_covers_its_classes_alone() -> None:
    mask = np.zeros((4, 4), np.uint8)
    mask[:, 2:] = 5
    canvas = Canvas(grey(400, 400))
    canvas.overlay(mask, {5: RED})

    assert canvas.image.getpixel((50, 200)) == (127, 127, 127)
    red, green, _ = canvas.image.getpixel((350, 200))  # type: ignore[misc]
    assert red > 170
    assert green < 90


def test_a_legend_hides_nothing() -> None:
    canvas = Canvas(grey(400, 300))
    canvas.legend([LegendRow(text="cat  40.0%", colour=RED), LegendRow(text="background  60.0%", colour=None)])
    narrow = Canvas(grey(60, 300))
    narrow.legend([LegendRow(text="a class with a long name  1.0%", colour=RED)])

    assert canvas.image.width == 400
    assert canvas.image.height > 300
    assert canvas.image.crop((0, 0, 400, 300)).tobytes() == grey(400, 300).tobytes()
    assert count(canvas.image, RED) > 50
    assert narrow.image.width > 60


def test_a_bare_canvas_has_no_labels_and_thin_lines() -> None:
    canvas = Canvas(grey(64, 48), bare=True, scale=(0.1, 0.1))
    canvas.box((100, 100, 300, 300), RED)
    canvas.label((100, 100, 300, 300), "hidden", PALETTE[1])
    canvas.legend([LegendRow(text="hidden", colour=PALETTE[1])])

    assert canvas.image.size == (64, 48)
    assert canvas.image.getpixel((10, 15)) == RED
    assert count(canvas.image, PALETTE[1]) == 0
