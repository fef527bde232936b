"""Where in a picture there is room for one more board, and how it stands there."""

from dataclasses import dataclass

import numpy as np

from shardline.training.plates.marks import Box
from shardline.training.plates.scene import Scene
from shardline.training.plates.warp import Matrix, Outline, Pose, bounds, move, oversampling, project, rectangle, stand

_TRIES = 12  # to find room


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """Where a board stands: from plate units (see warp.stand) to the picture."""

    aspect: float
    matrix: Matrix
    outline: Outline

    @property
    def face_height_px(self) -> float:
        """Such that no part of the face is drawn smaller than it is seen, times the oversampling."""
        return oversampling(self.outline.width_px) * max(self.outline.width_px / self.aspect, self.outline.height_px)


def find_spot(
    random: np.random.Generator, scene: Scene, taken: list[Box], aspect: float, width_px: float
) -> Spot | None:
    """A place where a board of this width meets none of the boxes that are `taken`, to which its own is added.

    None where there is no such place, or the board is too large for the picture.
    """
    width, height = scene.size
    matrix = stand(_random_pose(random, scene), aspect, width_px)
    corners = project(matrix, rectangle(-aspect / 2, -0.5, aspect / 2, 0.5))
    left, top, right, bottom = bounds(corners)
    room = np.array([(-left, -top), (width - right, height - bottom)])
    if random.random() < scene.cut_off:
        room += np.array([(-1,), (1,)]) * 0.3 * (right - left, bottom - top)
    if (room[0] > room[1]).any():
        return None
    for _ in range(_TRIES):
        x, y = random.uniform(room[0], room[1])
        box = left + x, top + y, right + x, bottom + y
        if not any(_overlap(box, other) for other in taken):
            taken.append(box)
            return Spot(aspect=aspect, matrix=move(x, y) @ matrix, outline=Outline(corners=corners + np.array((x, y))))
    return None


def _random_pose(random: np.random.Generator, scene: Scene) -> Pose:
    """Most plates hang nearly straight; the rest are turned evenly up to the most that is allowed."""
    even = random.uniform(-1, 1, 3)
    mild = np.clip(random.normal(0, 0.3, 3), -1, 1)
    angle, yaw, pitch = np.where(random.random(3) < 0.5, even, mild)
    return Pose(
        angle_deg=float(angle * scene.rotation_deg),
        yaw_deg=float(yaw * scene.tilt_deg),
        pitch_deg=float(pitch * scene.tilt_deg * 0.75),
        distance=float(random.uniform(1.5, 8)),
    )


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
