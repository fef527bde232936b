"""Parts of pictures, cut out and brought to one size, one brightness and one contrast: what a reader sees of them."""

import torch
from torch import Tensor
from torch.nn import functional

_FINER = 2  # each pixel of a cut-out is the mean of 2 × 2 that are looked up: large characters do not flicker
_LEAST_SPREAD = 4.0  # of a cut-out's 256 levels: noise on a plain ground is not blown up to characters


def cut_out(pictures: Tensor, middles: Tensor, across: Tensor, down: Tensor, size: tuple[int, int]) -> Tensor:
    """Rectangles of mean 0 in each colour and spread 1: float32 [batch * n, 3, *size].

    Beyond a picture its edge goes on.

    Args:
        pictures: uint8 [batch, 3, height, width].
        middles: of the rectangles, in pixels of the pictures: x and y, [batch, n, 2].
        across: from the left side to the right one, [batch, n, 2].
        down: from the upper side to the lower one, [batch, n, 2].
        size: height and width of what is cut out, in pixels.
    """
    (batch, count), (height, width) = middles.shape[:2], pictures.shape[2:]
    fine = [_FINER * each for each in size]
    y, x = ((torch.arange(each, device=middles.device) + 0.5) / each - 0.5 for each in fine)
    rows = middles.unsqueeze(2) + down.unsqueeze(2) * y.view(-1, 1)  # [batch, n, fine rows, 2]
    places = rows.unsqueeze(3) + (across.unsqueeze(2) * x.view(-1, 1)).unsqueeze(2)
    whole = torch.tensor((width, height), device=middles.device)
    grid = 2 * places / whole - 1  # grid_sample counts from -1 to 1
    looked_up = functional.grid_sample(
        pictures.float(), grid.flatten(1, 2), padding_mode="border", align_corners=False
    )  # [batch, 3, n * fine rows, fine columns]
    below = functional.avg_pool2d(looked_up, _FINER).reshape(batch, -1, count, *size)
    # laid out anew for one picture as for many, or sums over it would round otherwise
    each = below.transpose(1, 2).contiguous().flatten(0, 1)
    each = each - each.mean((2, 3), keepdim=True)
    return each / (each.square().mean((1, 2, 3), keepdim=True).sqrt() + _LEAST_SPREAD)
