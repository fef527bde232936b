"""A tiny detector that finds the box of each pure colour exactly, and drawn pictures with boxes for it."""

import io
from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw
from torch import nn

LABELS = ("red", "green", "blue")
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
_GREY = (120, 120, 120)
_ORIENTATION = 0x0112

Box = tuple[int, int, int, int]


class ColourDetector(nn.Module):
    """Boxes [batch, 3, 4] in pixels and scores [batch, 3, 3] of red, green and blue, without normalisation before it.

    A score is 0.9 where the colour is in the picture.
    """

    def __init__(self) -> None:
        super().__init__()
        self.same = nn.Conv2d(3, 3, 1, bias=False)
        self.pure = nn.Conv2d(3, 3, 1)
        with torch.no_grad():
            self.same.weight.copy_(torch.eye(3)[:, :, None, None])
            self.pure.weight.copy_((2 * torch.eye(3) - 1)[:, :, None, None])  # a colour less both others
            self.pure.bias.fill_(-0.5)  # type: ignore[union-attr]

    def found(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Boxes [batch, 3, 4] and 1 or 0 for each, [batch, 3]."""
        there = self.pure(self.same(pictures)) > 0
        height, width = pictures.shape[2:]
        across, down = there.any(2), there.any(3)
        right, left = _ends(across, width)
        bottom, top = _ends(down, height)
        return torch.stack((left, top, right, bottom), dim=2), there.flatten(2).any(2).to(pictures.dtype)

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        boxes, there = self.found(pictures)
        return boxes, there[:, :, None] * torch.eye(3, dtype=boxes.dtype, device=boxes.device) * 0.9


class ColourYolo(ColourDetector):
    """The same with YOLO's head: [batch, 4 + 3, 3], centres and sizes, and raw scores before sigmoid."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        boxes, scores = super().forward(pictures)
        corner, opposite = boxes.split(2, dim=2)  # type: ignore[no-untyped-call]
        return torch.cat(((corner + opposite) / 2, opposite - corner, scores * 20 - 9), dim=2).transpose(1, 2)


def _ends(there: torch.Tensor, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The end and the start of what is there, each [batch, 3]; there: bool [batch, 3, side]."""
    position = torch.arange(side, device=there.device)
    end = torch.where(there, position + 1, 0).amax(2)
    return end.float(), torch.where(there, position, side).amin(2).float()


def drawn(size: tuple[int, int], boxes: Sequence[tuple[str, Box]], orientation: int = 1) -> bytes:
    """A PNG file of `size` (width, height) upright, with filled boxes, stored turned as `orientation` says."""
    image = Image.new("RGB", size, _GREY)
    for label, (left, top, right, bottom) in boxes:
        ImageDraw.Draw(image).rectangle((left, top, right - 1, bottom - 1), fill=COLOURS[label])
    exif = Image.Exif()
    if orientation == 6:  # stored turned to the left, to be shown turned to the right
        image = image.transpose(Image.Transpose.ROTATE_90)
        exif[_ORIENTATION] = 6
    with io.BytesIO() as buffer:
        image.save(buffer, "PNG", exif=exif.tobytes())
        return buffer.getvalue()
