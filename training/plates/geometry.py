"""Geometry of a plate before the camera: one homography from its face to the picture, for pixels and outlines alike.

A homography is a float64 [3, 3] matrix that maps (x, y, 1) on the face, in pixels whose centres are at .5, to the
picture.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Matrix = NDArray[np.float64]  # [3, 3]
Points = NDArray[np.float64]  # [n, 2], x and y in pixels
Box = tuple[float, float, float, float]  # left, top, right, bottom

_SMALL_PX = 160  # a plate that is narrower is drawn twice as large and then shrunk


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """Orientation of a plate before the camera, and the camera's distance."""

    angle_deg: float  # of the plate's middle line in the picture, clockwise
    yaw_deg: float  # rotation about the upright axis
    pitch_deg: float  # rotation about the level axis
    distance: float  # of the camera, in diagonals of the plate


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """The four corners of a plate in the picture."""

    corners: Points  # [4, 2]: top left, top right, bottom right, bottom left, as the text is read

    @property
    def width_px(self) -> float:
        """The mean length of the upper and the lower edge."""
        upper_left, upper_right, lower_right, lower_left = self.corners
        return float(np.hypot(*(upper_right - upper_left)) + np.hypot(*(lower_right - lower_left))) / 2

    @property
    def height_px(self) -> float:
        """The mean length of the left and the right edge."""
        upper_left, upper_right, lower_right, lower_left = self.corners
        return float(np.hypot(*(lower_left - upper_left)) + np.hypot(*(lower_right - upper_right))) / 2

    @property
    def angle_deg(self) -> float:
        """The angle of the line through the middles of the left and the right edge; clockwise, 0 is level."""
        upper_left, upper_right, lower_right, lower_left = self.corners
        across = upper_right + lower_right - upper_left - lower_left
        return float(np.degrees(np.arctan2(across[1], across[0])))

    @property
    def box(self) -> Box:
        """The smallest upright box around the corners."""
        return bounds(self.corners)


def clip(box: Box, size: tuple[int, int]) -> Box:
    """The part of a box that lies in a picture of this size (width, height); it has no area where there is none."""
    left, top, right, bottom = box
    width, height = size
    return min(max(left, 0), width), min(max(top, 0), height), max(min(right, width), 0), max(min(bottom, height), 0)


def area(box: Box) -> float:
    """The area of a box in square pixels."""
    left, top, right, bottom = box
    return max(0.0, right - left) * max(0.0, bottom - top)


def bounds(points: Points) -> Box:
    """The smallest upright box around points [n, 2]."""
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return float(left), float(top), float(right), float(bottom)


def rectangle(left: float, top: float, right: float, bottom: float) -> Points:
    """The corners of a rectangle, float64 [4, 2], clockwise from the top left."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float64)


def project(matrix: Matrix, points: Points) -> Points:
    """Map points of the face, float64 [n, 2], into the picture, float64 [n, 2], by a homography [3, 3]."""
    mapped = points @ matrix[:, :2].T + matrix[:, 2]
    return np.asarray(mapped[:, :2] / mapped[:, 2:])


def stand(pose: Pose, aspect: float, width_px: float) -> Matrix:
    """The homography, float64 [3, 3], from a plate of width `aspect` and height 1 to a picture; both centres are at 0.

    In the picture the plate is `width_px` wide, as `Outline.width_px` measures, at the pose's angle.
    """
    tilted = _tilted(pose, aspect)
    corners = rectangle(-aspect / 2, -0.5, aspect / 2, 0.5)
    seen = Outline(corners=project(tilted, corners))
    turn = np.radians(pose.angle_deg - seen.angle_deg)
    size = width_px / seen.width_px
    cosine, sine = size * np.cos(turn), size * np.sin(turn)
    return np.array([(cosine, -sine, 0), (sine, cosine, 0), (0, 0, 1)]) @ tilted


def _tilted(pose: Pose, aspect: float) -> Matrix:
    """The homography, [3, 3], of a pinhole camera that looks at the centre of a plate with yaw and pitch."""
    yaw, pitch = np.radians((pose.yaw_deg, pose.pitch_deg))
    distance = pose.distance * np.hypot(aspect, 1)
    right = np.array((np.cos(yaw), 0, np.sin(yaw)))
    down = np.array((np.sin(yaw) * np.sin(pitch), np.cos(pitch), -np.cos(yaw) * np.sin(pitch)))
    return np.array(
        [
            (right[0], down[0], 0),
            (right[1], down[1], 0),
            (right[2] / distance, down[2] / distance, 1),
        ]
    )


def move(x: float, y: float) -> Matrix:
    """The homography, float64 [3, 3], of a translation."""
    return np.array([(1, 0, x), (0, 1, y), (0, 0, 1)], np.float64)


def scale(factor: float) -> Matrix:
    """The homography, float64 [3, 3], of a uniform scaling."""
    return np.diag((factor, factor, 1.0))


def oversampling(width_px: float) -> int:
    """The number of pixels, along a side, in which one pixel of the picture is drawn before it is averaged.

    Pillow's perspective transform takes no averages by itself, which shows where strokes are a pixel or two wide.
    """
    return 2 if width_px < _SMALL_PX else 1


def paste_warped(picture: Image.Image, face: Image.Image, matrix: Matrix, oversampled: int) -> None:
    """Draw a face (RGBA) into a picture (RGB) by its homography [3, 3]; what lies outside is cut off."""
    region = _region(picture.size, project(matrix, rectangle(0, 0, face.width, face.height)))
    if region is None:
        return
    patch = warp(face, matrix, region, oversampled)
    picture.paste(patch, region[:2], patch)


def warp(face: Image.Image, matrix: Matrix, region: tuple[int, int, int, int], oversampled: int) -> Image.Image:
    """Warp a face by its homography [3, 3] to a region (left, top, right, bottom) of the picture, in the face's mode.

    The mode is L or RGBA.
    """
    left, top, right, bottom = region
    back = np.linalg.inv(scale(oversampled) @ move(-left, -top) @ matrix)
    back /= back[2, 2]
    size = oversampled * (right - left), oversampled * (bottom - top)
    # RGBa is RGBA with colours multiplied by alpha, the one form in which they may be averaged
    flat = face.convert("RGBa") if face.mode == "RGBA" else face
    large = flat.transform(size, Image.Transform.PERSPECTIVE, back.ravel()[:8].tolist(), Image.Resampling.BILINEAR)
    drawn = large.reduce(oversampled) if oversampled > 1 else large
    return drawn.convert(face.mode) if face.mode == "RGBA" else drawn


def _region(size: tuple[int, int], points: Points) -> tuple[int, int, int, int] | None:
    """The whole pixels around points [n, 2] within a picture of this size; None where they lie outside."""
    left, top, right, bottom = bounds(points)
    region = (
        max(0, int(np.floor(left))),
        max(0, int(np.floor(top))),
        min(size[0], int(np.ceil(right))),
        min(size[1], int(np.ceil(bottom))),
    )
    return region if region[0] < region[2] and region[1] < region[3] else None
