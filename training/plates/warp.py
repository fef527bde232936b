"""How a plate stands before the camera: one matrix from its face to the picture, for pixels and for outlines alike.

A homography is a float64 [3, 3] that maps (x, y, 1) on the face, in pixels whose centres are at .5, to the picture.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Matrix = NDArray[np.float64]  # [3, 3]
Points = NDArray[np.float64]  # [n, 2]

_SMALL_PX = 160  # width of a plate that is drawn large and then shrunk


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """A plate before the camera, its size and place in the picture left open."""

    angle_deg: float  # of its middle line in the picture, clockwise
    yaw_deg: float  # turned about its upright axis
    pitch_deg: float
    distance: float  # of the camera, in diagonals of the plate


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """The four corners of a plate (top left, top right, bottom right, bottom left, as its text is read)."""

    corners: Points

    @property
    def width_px(self) -> float:
        """The mean of the upper and the lower edge."""
        upper_left, upper_right, lower_right, lower_left = self.corners
        return float(np.hypot(*(upper_right - upper_left)) + np.hypot(*(lower_right - lower_left))) / 2

    @property
    def height_px(self) -> float:
        upper_left, upper_right, lower_right, lower_left = self.corners
        return float(np.hypot(*(lower_left - upper_left)) + np.hypot(*(lower_right - upper_right))) / 2

    @property
    def angle_deg(self) -> float:
        """Of the line through the middles of the left and the right edge; clockwise, 0 is level."""
        upper_left, upper_right, lower_right, lower_left = self.corners
        across = upper_right + lower_right - upper_left - lower_left
        return float(np.degrees(np.arctan2(across[1], across[0])))

    @property
    def box(self) -> tuple[float, float, float, float]:
        return bounds(self.corners)


def bounds(points: Points) -> tuple[float, float, float, float]:
    """Left, top, right, bottom."""
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return float(left), float(top), float(right), float(bottom)


def rectangle(left: float, top: float, right: float, bottom: float) -> Points:
    """Its corners, clockwise from the top left; [4, 2]."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float64)


def project(matrix: Matrix, points: Points) -> Points:
    """Points of the face [n, 2] in the picture."""
    mapped = points @ matrix[:, :2].T + matrix[:, 2]
    return np.asarray(mapped[:, :2] / mapped[:, 2:])


def stand(pose: Pose, aspect: float, width_px: float) -> Matrix:
    """From a plate [aspect wide, 1 high, its centre at 0] to a picture in which its centre is at 0.

    There it is `width_px` wide, as `Outline.width_px` counts, at the pose's angle.
    """
    tilted = _tilted(pose, aspect)
    corners = rectangle(-aspect / 2, -0.5, aspect / 2, 0.5)
    seen = Outline(corners=project(tilted, corners))
    turn = np.radians(pose.angle_deg - seen.angle_deg)
    size = width_px / seen.width_px
    cosine, sine = size * np.cos(turn), size * np.sin(turn)
    return np.array([(cosine, -sine, 0), (sine, cosine, 0), (0, 0, 1)]) @ tilted


def _tilted(pose: Pose, aspect: float) -> Matrix:
    """A pinhole camera at the distance, looking at the centre of a plate with yaw and pitch."""
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
    return np.array([(1, 0, x), (0, 1, y), (0, 0, 1)], np.float64)


def scale(factor: float) -> Matrix:
    return np.diag((factor, factor, 1.0))


def oversampling(width_px: float) -> int:
    """Pixels of a face, and of the patch that it is drawn to, for one of the picture.

    Pillow's perspective takes no averages by itself, which tells where strokes are a pixel or two wide.
    """
    return 2 if width_px < _SMALL_PX else 1


def paste_warped(picture: Image.Image, face: Image.Image, matrix: Matrix, oversampled: int) -> None:
    """Draw a face (RGBA) into a picture (RGB), where its matrix puts it; what lies outside is cut off."""
    region = _region(picture.size, project(matrix, rectangle(0, 0, face.width, face.height)))
    if region is None:
        return
    patch = warp(face, matrix, region, oversampled)
    picture.paste(patch, region[:2], patch)


def warp(face: Image.Image, matrix: Matrix, region: tuple[int, int, int, int], oversampled: int) -> Image.Image:
    """What a region (left, top, right, bottom) of the picture shows of a face, in the face's mode (L, RGBA)."""
    left, top, right, bottom = region
    back = np.linalg.inv(scale(oversampled) @ move(-left, -top) @ matrix)
    back /= back[2, 2]
    size = oversampled * (right - left), oversampled * (bottom - top)
    # RGBa is RGBA with colours times alpha, the one form in which they may be averaged
    flat = face.convert("RGBa") if face.mode == "RGBA" else face
    large = flat.transform(size, Image.Transform.PERSPECTIVE, back.ravel()[:8].tolist(), Image.Resampling.BILINEAR)
    drawn = large.reduce(oversampled) if oversampled > 1 else large
    return drawn.convert(face.mode) if face.mode == "RGBA" else drawn


def _region(size: tuple[int, int], points: Points) -> tuple[int, int, int, int] | None:
    """Whole pixels around the points, within a picture; None where they lie outside."""
    left, top, right, bottom = bounds(points)
    region = (
        max(0, int(np.floor(left))),
        max(0, int(np.floor(top))),
        min(size[0], int(np.ceil(right))),
        min(size[1], int(np.ceil(bottom))),
    )
    return region if region[0] < region[2] and region[1] < region[3] else None
