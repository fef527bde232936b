"""License plates: a detector's boxes -> where each plate is, of which type, and what is written on it.

The detector gives, for each picture and already decoded, in this order (training/detector/model.py):

    board_boxes [n, 4], board_scores [n, 2], board_turns [n, 2]   regular, long; cosine and sine of the text's direction
    group_boxes [n, 4], group_scores [n, 4]                       small and main group of a regular, of a long plate
    character_boxes [n, 4], character_scores [n, 15]              0-9, a-e
    board_texts [n, 7, 16]                                        of each place of a text 0-9, a-e, nothing; optional

Boxes are (left, top, right, bottom) in pixels of the network's input, scores are from 0 to 1 and all 0 where there is
nothing. The reply is in pixels of the picture that was sent. docs/tasks.md describes it.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardline.tasks.parameters import check_names
from shardline.tasks.plate_reading import THRESHOLD, PlateFound, find_plates, find_things
from shardline.tasks.plate_things import Floats
from shardline.tasks.request import Outputs, Request
from shardline.wire.errors import BundleError, FrameError, RequestError, ShardlineError
from shardline.wire.view import View

PARAMETERS = frozenset({"threshold"})

Plate = dict[str, Any]  # one plate as JSON

_LAST = ((4,), (2,), (2,), (4,), (4,), (4,), (15,), (7, 16))  # each output is [batch, n, this]; the last may be missing
_KINDS = ((0, 1, 2, 7), (3, 4), (5, 6))  # boxes, scores, turns and texts of boards, of groups, of characters
_COUNTED = (0, 0, 0, 3, 3, 5, 5, 0)  # the output that has as many things as each
_DECIMALS, _SCORE_DECIMALS = 1, 4


def reply(request: Request) -> list[list[Plate]]:
    """The last shard's tensors -> the plates of each instance, the surest first.

    Parameters: "threshold", over 0 and at most 1: the least score of a plate; 0.7 if not given. A low one lists what
    might be a plate, too.

    Raises:
        RequestError: an unknown parameter, or a threshold out of range.
        BundleError: these are no outputs of a detector of plates.
        FrameError: nobody said where the pixels lie in the pictures that were sent.
        ShardlineError: NaN or infinity among the outputs.
    """
    threshold = _threshold(request.parameters)
    count = len(_arrays(request.outputs)[0])
    if len(request.views) != count:
        raise FrameError(
            f"a frame has {len(request.views)} views for {count} instances; allowed: one each, for plates are answered "
            "in pixels of the picture that was sent; serve the transformer and all stages from one release"
        )
    return [
        read_plates(request.outputs, view, threshold, instance=instance) for instance, view in enumerate(request.views)
    ]


def read_plates(outputs: Outputs, view: View, threshold: float = THRESHOLD, *, instance: int = 0) -> list[Plate]:
    """The plates of one picture of a batch, as JSON.

    Args:
        outputs: a detector's, in its order.
        view: how the network's pixels map to the picture.
        threshold: the least score of a plate.
        instance: which picture.

    Raises:
        BundleError, ShardlineError: as `reply`.
    """
    said = [_said(plate, view) for plate in _plates(outputs, instance, threshold)]
    return [each for each in said if each is not None]


def answers(outputs: Outputs) -> Sequence[Hashable]:
    """What is read in each picture at the usual threshold: types and texts, wherever the plates are.

    Raises:
        BundleError, ShardlineError: as `reply`.
    """
    return [
        tuple(sorted((plate.kind, plate.sub_text or "", plate.main_text or "") for plate in _plates(outputs, instance)))
        for instance in range(len(_arrays(outputs)[0]))
    ]


def comparable(outputs: Outputs) -> Outputs:
    """Sums over the things of each kind, in which their order does not count.

    A thing counts with the square of what its score is above the least one listed: where two change places at the end
    of the list, the one that goes and the one that comes count nothing. So the sums move little where scores and boxes
    do. `…_sums` [batch, classes] are of these weights; `…_places` [batch, classes, 4 or 2] of boxes and turns, weighed,
    over the sum of the kind's weights; so are texts.
    """
    arrays = _arrays(outputs)
    result = {}
    for name, kind in zip(("boards", "groups", "characters"), _KINDS, strict=True):
        scores = arrays[kind[1]].astype(np.float64)
        least = scores.max(axis=2, keepdims=True).min(axis=1, keepdims=True)
        weights = np.square(np.maximum(scores - least, 0.0))
        total = np.maximum(weights.sum(axis=(1, 2)), 1e-12)[:, None, None]
        result[f"{name}_sums"] = weights.sum(axis=1)
        for what in (each for each in kind if each != kind[1] and each < len(arrays)):
            values = arrays[what].astype(np.float64).reshape(*weights.shape[:2], -1)
            result[f"{name}_places_{what}"] = np.einsum("bnc,bnd->bcd", weights, values) / total
    return result


def _threshold(parameters: Mapping[str, object]) -> float:
    check_names(parameters, PARAMETERS)
    threshold = parameters.get("threshold", THRESHOLD)
    if not isinstance(threshold, int | float) or isinstance(threshold, bool) or not 0 < threshold <= 1:
        raise RequestError(f"parameter threshold is {str(threshold)[:40]!r}; allowed: a number over 0, up to 1")
    return float(threshold)


def _arrays(outputs: Outputs) -> list[NDArray[Any]]:
    """The seven or eight, in their order."""
    arrays = list(outputs.values())
    shapes = [array.shape for array in arrays if array.ndim >= 3 and array.dtype.kind == "f"]
    if len(shapes) == len(arrays) and len(_LAST) - 1 <= len(arrays) <= len(_LAST):
        counts = [shapes[each][:2] for each in _COUNTED]
        if shapes == [(*count, *last) for count, last in zip(counts, _LAST, strict=False)][: len(shapes)]:
            return arrays
    found = ", ".join(f"{name} {array.dtype}{list(array.shape)}" for name, array in outputs.items())
    raise BundleError(
        f"the model's outputs are {found or 'none'}; plates needs the seven of a detector of plates, float "
        f"[batch, n, {' | '.join(str(last[0]) for last in _LAST[:-1])}], and takes an eighth, [batch, n, 7, 16]: build "
        "with another task"
    )


def _plates(outputs: Outputs, instance: int, threshold: float = THRESHOLD) -> list[PlateFound]:
    arrays = [array[instance].astype(np.float64) for array in _arrays(outputs)]
    if not all(np.isfinite(array).all() for array in arrays):
        raise ShardlineError(
            f"the model gave NaN or infinity for instance {instance}: its weights or its precision are at fault"
        )
    return find_plates(find_things(arrays, threshold), threshold)


def _said(plate: PlateFound, view: View) -> Plate | None:
    """One plate as JSON; None where none of it lies in the picture, but in the margin of a letter-box."""
    size = view.width, view.height
    box = np.clip(view.to_picture(plate.box.reshape(2, 2)), 0, size)
    if not (box[1] > box[0]).all():
        return None
    quad = view.to_picture(plate.frame.corners)
    upper, left = quad[1] - quad[0], quad[3] - quad[0]
    parts = {"sub_text": plate.sub_text, "main_text": plate.main_text}
    missing = [name for name, text in parts.items() if text is None]
    return {
        "type": plate.kind,
        "board_center_p": _rounded(np.clip(view.to_picture(plate.frame.centre), 0, size)),
        "width": round(math.hypot(*upper), _DECIMALS),
        "height": round(math.hypot(*left), _DECIMALS),
        "angle": round(math.degrees(math.atan2(upper[1], upper[0])), _DECIMALS),
        **parts,
        "score": round(min(plate.score, 1.0), _SCORE_DECIMALS),
        "box": _rounded(box.ravel()),
        "quad": [_rounded(corner) for corner in quad],
        **({"missing": missing} if missing else {}),
    }


def _rounded(values: Floats) -> list[float]:
    return [round(value, _DECIMALS) for value in values.tolist()]
