"""How far the heads are from what they should say, as one number for each part.

Heat: the focal loss of CornerNet (Law and Deng, 2018) as CenterNet has it (Zhou, Wang and Krähenbühl, 2019), over the
number of things: well-told places count little, and places near a centre less than others. Class: the cross-entropy, of
boards and groups at the centres, of characters in what the reader says of each. Offset, size and direction: the mean
absolute difference at the centres; of sizes the difference of logarithms, so that a small box may be off by few pixels
and a large one by many. It counts a fifth: boxes are learnt long before characters are told, and their gradient would
hide the others'.
"""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional

from shardline.training.detector.looks import NOT_ASKED
from shardline.training.detector.model import Maps
from shardline.training.detector.targets import Target

_NAMES = ("boards", "groups", "characters")
_SHAPE = 0.2  # weight of offset and size


def losses(maps: Sequence[Maps], targets: Sequence[Target]) -> dict[str, Tensor]:
    """Each part's loss, a number of float32; what is to be made small is their sum."""
    found = {}
    for name, said, wanted in zip(_NAMES, maps, targets, strict=True):
        found[f"{name}_heat"] = focal(said.heat.float(), wanted.heat, wanted.open)
        if said.classes is not None:
            found[f"{name}_class"] = _unlikeness(said.classes, wanted)
        found[f"{name}_shape"] = _SHAPE * _difference(said.shape, wanted, wanted.shape)
        if said.turn is not None:
            found["turns"] = _difference(said.turn, wanted, wanted.turn)
    return found


def focal(logits: Tensor, heat: Tensor, left_open: Tensor) -> Tensor:
    """The focal loss of [batch, 1, height, width] over the number of centres; `left_open` places say nothing."""
    centres = logits[heat == 1]
    missed = functional.softplus(-centres) * centres.sigmoid().sub(1).square()
    far = (1 - heat).square().square().masked_fill(left_open, 0.0)  # the paper's beta is 4; at centres this is 0
    invented = functional.softplus(logits) * logits.sigmoid().square() * far
    return (missed.sum() + invented.sum()) / max(1, len(centres))


def misread(logits: Tensor, classes: Tensor) -> Tensor:
    """The mean cross-entropy of a reader's logits, float32 [m, classes], for these classes, int64 [m].

    Where it is `NOT_ASKED`, nothing counts.
    """
    return functional.cross_entropy(logits, classes, ignore_index=NOT_ASKED)


def _unlikeness(said: Tensor, wanted: Target) -> Tensor:
    picture, y, x = wanted.places.unbind(1)
    off = functional.cross_entropy(said[picture, :, y, x].float(), wanted.classes, reduction="sum")
    return off / max(1, len(wanted.classes))


def _difference(said: Tensor, wanted: Target, values: Tensor) -> Tensor:
    picture, y, x = wanted.places.unbind(1)
    off = (said[picture, :, y, x].float() - values).abs().sum(1)
    return off.sum() / max(1, len(values))
