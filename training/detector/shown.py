"""Samples as a detector in training is shown them: pictures, and what its two readers see of them."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shardline.partition.models import IMAGENET_MEAN, IMAGENET_STD
from shardline.training.detector.data import Sample
from shardline.training.detector.looks import TEXTS
from shardline.training.detector.reader import SIDE, cut_out_characters
from shardline.training.detector.text_reader import SIZE, cut_out_boards

Looks = NDArray[np.float32]


def normalised(pictures: Sequence[NDArray[np.uint8]], device: torch.device) -> Tensor:
    """Pixels [side, side, 3] each -> float32 [batch, 3, side, side], as shardline.partition.capture.Pixels has them."""
    pixels = torch.from_numpy(np.stack(pictures)).to(device).permute(0, 3, 1, 2)
    mean, std = (torch.tensor(each, device=device).view(1, 3, 1, 1) for each in (IMAGENET_MEAN, IMAGENET_STD))
    return (pixels.to(torch.float32) / 255 - mean) / std


def characters_shown(samples: Sequence[Sample], device: torch.device) -> tuple[Tensor, Tensor]:
    """What the reader sees of all samples, [m, 3, 32, 32], and the characters' classes, [m]."""
    seen, rows = _shown(samples, [each.looks for each in samples], (SIDE, SIDE), device, _characters)
    return seen, torch.from_numpy(rows[:, 4]).long().to(device)


def plates_shown(samples: Sequence[Sample], device: torch.device, most: int | None = None) -> tuple[Tensor, Tensor]:
    """What the reader of texts sees, [m, 3, 64, 128], and the classes of each plate's places, [m, 7].

    Args:
        most: looks at each sample; the first ones, which are any.
    """
    seen, rows = _shown(samples, [each.plates[:most] for each in samples], SIZE, device, _boards)
    return seen, torch.from_numpy(rows[:, TEXTS:]).long().to(device)


def _characters(picture: Tensor, looks: Tensor) -> Tensor:
    return cut_out_characters(picture, looks[..., :4])


def _boards(picture: Tensor, looks: Tensor) -> Tensor:
    return cut_out_boards(picture, looks[..., :4], looks[..., 4:TEXTS])


def _shown(
    samples: Sequence[Sample], looks: Sequence[Looks], size: tuple[int, int], device: torch.device,
    cut: Callable[[Tensor, Tensor], Tensor],
) -> tuple[Tensor, Looks]:  # fmt: skip
    seen = [torch.zeros(0, len(IMAGENET_MEAN), *size, device=device)]
    for sample, rows in zip(samples, looks, strict=True):
        if len(rows):
            picture, values = (torch.from_numpy(each).to(device) for each in (sample.pixels, rows))
            seen.append(cut(picture.permute(2, 0, 1)[None], values[None]))
    return torch.cat(seen), np.concatenate(looks)
