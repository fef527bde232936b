"""A plate detector that takes every bright area of a picture for a long plate with the text 12A 3456."""

import torch
from services.plate_detections import NAMES, PlanePlate, outputs
from torch import nn

from shardline.tasks.plates.text import parse_text

PLATE = PlanePlate(kind="long", text=parse_text("12A 3456"), centre=(2.25, 0.5), width=4.5)


class Bright(nn.Module):
    """float32 [batch, 3, size, size] -> what training/detector/model.py's PlateDetector gives, with fewer objects.

    Where nothing is bright all scores are 0.
    """

    def __init__(self) -> None:
        super().__init__()
        self.soften = nn.ModuleList(nn.AvgPool2d(3, stride=1, padding=1) for _ in range(3))
        for name, array in outputs(PLATE.detections()).items():
            if name.endswith("boxes"):
                array[..., 0::2] /= PLATE.width  # of a board from (0, 0) to (1, 1)
            self.register_buffer(name, torch.from_numpy(array))

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, ...]:
        grey = pictures.mean(1, keepdim=True)
        for layer in self.soften:
            grey = layer(grey)
        bright = (grey[:, 0] > 1.5).to(torch.float32)  # grey 114 is below 0
        across, down = _ends(bright.amax(1)), _ends(bright.amax(2))
        ends = torch.stack((across, down), dim=2).reshape(-1, 1, 4)  # left, top, right, bottom
        corner, size = ends[:, :, :2], ends[:, :, 2:] - ends[:, :, :2]
        found = bright.amax((1, 2)).reshape(-1, 1, 1)
        values = []
        for name in NAMES:
            value = getattr(self, name)
            if name.endswith("boxes"):
                values.append(value * size.repeat(1, 1, 2) + corner.repeat(1, 1, 2))
            else:
                values.append(value * (found if name.endswith("scores") else torch.ones_like(found)))
        return tuple(values)


def _ends(bright: torch.Tensor) -> torch.Tensor:
    """[batch, size] of 0 and 1 -> where the ones begin and end, [batch, 2]."""
    positions = torch.arange(bright.shape[1], dtype=torch.float32)
    last = (bright * (positions + 1)).amax(1)
    first = bright.shape[1] - (bright * (bright.shape[1] - positions)).amax(1)
    return torch.stack((torch.minimum(first, last), last), dim=1)


def bright() -> nn.Module:
    return Bright()
