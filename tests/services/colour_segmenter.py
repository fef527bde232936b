"""Segmentation by the nearest colour of each pixel, and drawn pictures that it segments rightly."""

import io
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import nn

COLOURS: Mapping[str, tuple[int, int, int]] = {
    "background": (255, 255, 255),
    "red": (220, 20, 20),
    "green": (20, 200, 20),
    "blue": (20, 20, 220),
}
CLASSES = tuple(COLOURS)
MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


class ByColour(nn.Module):
    """Scores of every pixel: the negative squared distances to the colours, [batch, 4, h, w], by three convolutions.

    With `stride` above 1, a score is that of the mean of a square of pixels.
    """

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.shrink: nn.Module = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.keep = nn.Conv2d(3, 3, 1, bias=False)
        self.again = nn.Conv2d(3, 3, 1, bias=False)
        self.score = nn.Conv2d(3, len(COLOURS), 1)
        colours = torch.tensor([*COLOURS.values()]) / 127.5 - 1
        with torch.no_grad():
            for layer in (self.keep, self.again):
                layer.weight.copy_(torch.eye(3).view(3, 3, 1, 1))
            # |x - c|² = |x|² - 2 x·c + |c|², and |x|² is the same for every class
            self.score.weight.copy_(2 * colours.view(-1, 3, 1, 1))
            assert self.score.bias is not None
            self.score.bias.copy_(-colours.square().sum(1))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"out": self.score(self.again(self.keep(self.shrink(x))))}


def by_colour(stride: int = 1) -> nn.Module:
    return ByColour(stride)


def draw(width: int, height: int) -> tuple[Image.Image, NDArray[np.uint8]]:
    """Draw shapes, no two alike, and their classes, uint8 [height, width]."""
    labels = Image.new("L", (width, height), 0)
    pen = ImageDraw.Draw(labels)
    pen.rectangle((width * 0.1, height * 0.1, width * 0.45, height * 0.3), fill=1)
    pen.ellipse((width * 0.5, height * 0.3, width * 0.95, height * 0.75), fill=2)
    pen.polygon([(0, height), (width * 0.4, height), (0, height * 0.55)], fill=3)
    classes = np.array(labels, np.uint8)
    pixels = np.array([*COLOURS.values()], np.uint8)[classes]
    return Image.fromarray(pixels), classes


def encoded(image: Image.Image, orientation: int = 1) -> bytes:
    """A PNG of an upright picture, stored turned as its EXIF orientation says."""
    turns = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    turn = turns[orientation]
    stored = image if turn is None else image.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    with io.BytesIO() as buffer:
        stored.save(buffer, "PNG", exif=exif)
        return buffer.getvalue()
