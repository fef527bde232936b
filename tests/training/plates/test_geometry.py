"""The homography of a plate: centre, width and angle are as asked for, and warped pixels land where points do."""

import numpy as np
import pytest
from PIL import Image

from shardline.training.plates.geometry import (
    Outline,
    Pose,
    area,
    bounds,
    clip,
    move,
    oversampling,
    paste_warped,
    project,
    rectangle,
    scale,
    stand,
)


@pytest.mark.parametrize("yaw", [-40, 0, 25])
@pytest.mark.parametrize("angle", [-20, 0, 35])
def test_a_plate_stands_at_its_width_and_angle(angle: float, yaw: float) -> None:
    pose = Pose(angle_deg=angle, yaw_deg=yaw, pitch_deg=10, distance=3)

    matrix = stand(pose, 4.5, 200)
    seen = Outline(corners=project(matrix, rectangle(-2.25, -0.5, 2.25, 0.5)))

    assert seen.width_px == pytest.approx(200)
    assert seen.angle_deg == pytest.approx(angle)
    assert project(matrix, np.zeros((1, 2)))[0] == pytest.approx((0, 0))


def test_pixels_land_where_points_do() -> None:
    picture, face = Image.new("RGB", (60, 40)), Image.new("RGBA", (10, 5), (255, 255, 255, 255))
    matrix = move(20, 10) @ scale(2)

    paste_warped(picture, face, matrix, oversampling(20))

    drawn = np.flatnonzero(np.asarray(picture.convert("L")) > 128)
    assert bounds(project(matrix, rectangle(0, 0, 10, 5))) == (20, 10, 40, 20)
    assert (drawn % 60).min() == 20
    assert (drawn % 60).max() == 39
    assert (drawn // 60).min() == 10
    assert (drawn // 60).max() == 19


def test_what_lies_outside_changes_nothing() -> None:
    picture, face = Image.new("RGB", (60, 40)), Image.new("RGBA", (10, 5), (255, 255, 255, 255))

    paste_warped(picture, face, move(100, 100), 1)

    assert picture.getbbox() is None


def test_boxes_are_clipped_to_the_picture() -> None:
    assert clip((-5, 2, 20, 50), (10, 40)) == (0, 2, 10, 40)
    assert area(clip((-9, 0, -3, 5), (10, 40))) == 0
    assert area((1, 2, 4, 6)) == 12
