"""Places of the network's input and of the picture that was sent."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardline.wire.errors import FrameError
from shardline.wire.view import View, from_columns, placed_view, to_columns


def test_half_size_and_cropped() -> None:
    """300 x 200 pixels, resized to 150 x 100, of which the middle 100 x 100 are kept."""
    view = placed_view((300, 200), (150, 100), (-25, 0))

    assert view == View(width=300, height=200, left=50.0, top=0.0, across=2.0, down=2.0)
    assert view.to_picture([(0, 0), (100, 100)]).tolist() == [[50, 0], [250, 200]]


def test_letter_boxed() -> None:
    """300 x 200 pixels, resized to 96 x 64, with 16 rows of grey above and below."""
    view = placed_view((300, 200), (96, 64), (0, 16))

    assert view.to_picture([(0, 16), (96, 80)]).tolist() == [[0, 0], [300, 200]]
    assert view.to_network((0, 0)).tolist() == [0, 16]


def test_rounding_to_whole_pixels_is_told_apart_sideways_and_down() -> None:
    view = placed_view((1000, 333), (512, 170), (0, 171))

    assert view.to_picture((512, 171 + 170)) == pytest.approx((1000, 333))


sizes = st.tuples(st.integers(1, 50_000), st.integers(1, 50_000))


@given(sizes, sizes, st.tuples(st.integers(-9999, 9999), st.integers(-9999, 9999)), st.floats(0, 1), st.floats(0, 1))
def test_there_and_back(
    picture: tuple[int, int], resized: tuple[int, int], at: tuple[int, int], x: float, y: float
) -> None:
    view = placed_view(picture, resized, at)
    place = np.array((x * picture[0], y * picture[1]))

    assert view.to_picture(view.to_network(place)) == pytest.approx(place, abs=1e-4)
    assert view.to_picture(np.array(at)) == pytest.approx((0, 0), abs=1e-6)
    assert view.to_picture(np.array(at) + resized) == pytest.approx(picture, abs=1e-6 * max(picture))


@given(st.lists(st.builds(placed_view, sizes, sizes, sizes), max_size=4))
def test_columns_there_and_back(views: list[View]) -> None:
    assert from_columns(to_columns(views)) == tuple(views)


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 0},
        {"height": 1.5},
        {"width": True},
        {"left": float("nan")},
        {"top": float("inf")},
        {"left": "0"},
        {"across": 0.0},
        {"down": -1.0},
        {"top": 10**400},
    ],
    ids=str,
)
def test_what_is_no_view_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(FrameError, match=r"views with .*; allowed: a .*number from"):
        View(**{"width": 8, "height": 8, **wrong})  # type: ignore[arg-type]
