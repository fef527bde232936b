"""Segmentation: scores of classes for each pixel -> a mask in the picture that was sent, and each class's share of it.

The model gives float [batch, classes, h, w] at any scale of its input; a single channel separates class 1 from class 0.
A smaller map is interpolated bilinearly to the input's size before the highest class is taken, as torchvision's models
do. Each pixel of the picture then has the class of the pixel of the input in which its centre lies. A model may also
give the classes themselves, as integers [batch, h, w] or [batch, 1, h, w].
"""

import base64
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shardline.tasks.request import Options, Outputs, Request, Shape, check_names, not_finite, whole_number
from shardline.wire.errors import BundleError, FrameError, RequestError, ShardlineError, TooLargeError
from shardline.wire.limits import REQUEST_BYTES, format_bytes
from shardline.wire.rle import encode_classes
from shardline.wire.view import View

PARAMETERS = frozenset({"format", "classes", "pixels"})
FORMATS = ("png", "rle")
SCORES = {
    "logits": 0.0,
    "sigmoid": 0.0,
    "probabilities": 0.5,
}  # meaning of one channel alone -> the score from which on it is class 1
MASK_PIXELS = 4_000_000
VOID, WIDE_VOID = 255, 65_535  # of pixels without a class, in masks of 8 and of 16 bits

_STRIP_VALUES = 4_000_000  # scores that are interpolated at a time
_LARGE_SHARE = 0.05  # of a picture, so that rounding at borders changes no answer
_DECIMALS = 6
_CELLS = 128  # rows and columns of the maps that two models are compared by

Labels = NDArray[np.unsignedinteger[Any]]  # indexes of classes


def reply(request: Request) -> list[dict[str, object]]:
    """Build one mask for each instance from the last shard's outputs.

    Parameters: "format", "png" (default) or "rle"; "classes", a list of labels or indexes: all other pixels are without
    a class then; "pixels", the most pixels of a mask, up to 4,000,000 (default): that of a larger picture is smaller.

    Args:
        request: scores float [batch, classes, h, w], or classes as integers, and one view for each instance.

    Returns:
        [{"mask", "size": [height, width], "classes": [{"label", "index", "share"}]}]: the mask covers the whole upright
        picture; a PNG holds class indexes in 8 bits, from 255 classes on in 16, RLE a mask for each class as COCO has
        it. Pixels outside of the network's input, and of classes that were not asked for, have the highest value, 255
        or 65535. Shares are of all other pixels, the largest first.

    Raises:
        RequestError: an unknown parameter, or a value that is not allowed.
        TooLargeError: the masks of all instances do not fit a reply.
        BundleError: the model has no such output.
        FrameError: the frame has no views, so positions in the pictures that were sent are unknown.
        ShardlineError: NaN or infinity among the scores, or an integer that is no class.
    """
    check_names(request.parameters, PARAMETERS)
    scores = _scores(request.outputs)
    _check_views(request, len(scores))
    kind = _format(request.parameters)
    most = whole_number(request.parameters, "pixels", MASK_PIXELS) or MASK_PIXELS
    kept = _kept(request.parameters.get("classes"), request)
    predictions, size_bytes = [], 0
    for instance, view in enumerate(request.views):
        labels = _labels(scores[instance], request.options, request.input_size, instance)
        mask = place_labels(labels if kept is None else _only(labels, kept), view, request.input_size, most)
        predictions.append(_prediction(mask, kind, request.labels))
        size_bytes += len(json.dumps(predictions[-1]))
        if size_bytes > REQUEST_BYTES:
            raise TooLargeError(
                f"the masks of {len(scores)} pictures need more than {format_bytes(REQUEST_BYTES)}, the most that a "
                f"reply holds: send fewer pictures, or set the parameter pixels below {most}"
            )
    return predictions


def answers(outputs: Outputs, options: Options) -> Sequence[tuple[int, ...]] | None:
    """The classes of each instance that fill at least 5 % of its pixels; None if no output is a segmentation's."""
    try:
        scores = _scores(outputs)
    except BundleError:
        return None
    shares = (_shares(_labels(values, options, None, instance)) for instance, values in enumerate(scores))
    return [tuple(np.flatnonzero(share >= _LARGE_SHARE).tolist()) for share in shares]


def comparable(outputs: Outputs, _: Options) -> Outputs:
    """The highest and lowest scores of cells, float [batch, classes, 128, 128] at most: as close as the scores are.

    Classes as integers [batch, h, w] become shares of classes, float [batch, 65536], since the numbers mean nothing.
    """
    scores = _scores(outputs)
    if scores.dtype.kind != "f":
        return {"shares": np.stack([_shares(_labels(values, {}, None, 0)) for values in scores])}
    if max(scores.shape[2:]) <= _CELLS:
        return {"scores": scores}
    return {"highest": _pooled(scores, np.maximum), "lowest": _pooled(scores, np.minimum)}


def class_count(outputs: Sequence[Shape], _: Options) -> int | None:
    """Number of classes by the outputs' shapes: the second dimension of the first one that has four; 1 counts as 2."""
    channels = next((shape[1] for shape in outputs if len(shape) == 4), None)
    return max(channels, 2) if isinstance(channels, int) else None


def check_options(options: Options) -> None:
    """Check the options of a bundle: `scores`, the meaning of one channel alone, a key of SCORES ("logits").

    Raises:
        BundleError: another option or value.
    """
    unknown = sorted(options.keys() - {"scores"})
    if unknown or options.get("scores", "logits") not in SCORES:
        raise BundleError(
            f"the options of the task segment are {dict(options)}; allowed: scores, {' or '.join(SCORES)}: build again"
        )


def place_labels(labels: Labels, view: View, input_size: tuple[int, int] | None, most: int = MASK_PIXELS) -> Labels:
    """Map class indexes of the network's input, uint [h, w], to the picture that was sent, uint [height, width].

    Args:
        view: of the picture in the input.
        input_size: height and width of the input in pixels, all of which `labels` covers.
        most: pixels of the result; that of a larger picture has the same proportions, and fewer pixels.
    """
    size = _mask_size(view, most)
    scales = np.array(labels.shape) / (input_size or labels.shape)
    columns, seen_across = _positions(size[1], view.width, view.left, view.across, scales[1], labels.shape[1])
    rows, seen_down = _positions(size[0], view.height, view.top, view.down, scales[0], labels.shape[0])
    if seen_across.all() and seen_down.all():
        return labels[rows][:, columns]
    mask = np.full(size, _void(labels), labels.dtype)
    mask[np.ix_(seen_down, seen_across)] = labels[rows[seen_down]][:, columns[seen_across]]
    return mask


def _mask_size(view: View, most: int) -> tuple[int, int]:
    shrunk = min(1.0, math.sqrt(most / (view.width * view.height)))
    height = min(max(1, int(view.height * shrunk)), most)
    return height, max(1, min(int(view.width * shrunk), most // height))


def _positions(
    count: int, length: int, start: float, step: float, scale: float, labels: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """For the centres of `count` pixels along one side: the index of a label, and whether the input holds it."""
    centres = (np.arange(count) + 0.5) * (length / count)
    at = np.floor((centres - start) / step * scale)
    return np.clip(at, 0, labels - 1).astype(np.int64), (at >= 0) & (at < labels)


def _scores(outputs: Outputs) -> NDArray[Any]:
    """Select the first output that is float [batch, classes, h, w], else integers as [batch, 1, h, w].

    Raises:
        BundleError: there is neither.
    """
    arrays = [array for array in outputs.values() if 0 not in array.shape[1:]]
    for array in arrays:
        if array.ndim == 4 and array.dtype.kind == "f" and array.shape[1] < WIDE_VOID:
            return array
    for array in arrays:
        if array.dtype.kind in "iub" and (array.ndim == 3 or (array.ndim == 4 and array.shape[1] == 1)):
            return array.reshape(len(array), 1, *array.shape[-2:])
    found = ", ".join(f"{name} {array.dtype}{list(array.shape)}" for name, array in outputs.items())
    raise BundleError(
        f"the model's outputs are {found or 'none'}; segment needs float [batch, classes, height, width]: build with "
        "another task"
    )


def _check_views(request: Request, count: int) -> None:
    if len(request.views) != count or request.input_size is None:
        raise FrameError(
            f"a frame has {len(request.views)} views for {count} instances; allowed: one each, for a mask is in pixels "
            "of the picture that was sent; serve the transformer and all stages from one release"
        )


def _labels(scores: NDArray[Any], options: Options, size: tuple[int, int] | None, instance: int) -> Labels:
    """Class with the highest score at each pixel, uint [h, w], from float [classes, h, w] or integers [1, h, w].

    Args:
        scores: of one instance.
        size: height and width of the network's input, to which smaller scores are interpolated.

    Raises:
        ShardlineError: NaN or infinity among the scores, or an integer that is no class.
    """
    if scores.dtype.kind != "f":
        return _checked_classes(scores[0], instance)
    if not np.isfinite(scores).all():
        raise not_finite(instance)
    classes = max(len(scores), 2)
    labels = np.empty(_larger(scores.shape[1:], size), np.uint8 if classes <= VOID else np.uint16)
    threshold = SCORES[str(options.get("scores", "logits"))]
    for start, values in _interpolated(scores, labels.shape):
        chosen = values.argmax(axis=0) if len(values) > 1 else values[0] > threshold
        labels[start : start + len(chosen)] = chosen
    return labels


def _checked_classes(classes: NDArray[Any], instance: int) -> Labels:
    """Integers [h, w] as classes."""
    if classes.size and (classes.min() < 0 or classes.max() >= WIDE_VOID):
        raise ShardlineError(
            f"the model gave {classes.min()} to {classes.max()} as classes for instance {instance}; allowed are 0 to "
            f"{WIDE_VOID - 1}"
        )
    return classes.astype(np.uint8 if classes.max(initial=0) < VOID else np.uint16)


def _larger(found: tuple[int, ...], wanted: tuple[int, int] | None) -> tuple[int, int]:
    """The larger height and width of two sizes."""
    height, width = found
    return (height, width) if wanted is None else (max(height, wanted[0]), max(width, wanted[1]))


def _interpolated(scores: NDArray[Any], size: tuple[int, ...]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield strips of rows, float [classes, rows, width] each, of scores [classes, h, w] at this size or a larger one.

    Bilinear, as torch.nn.functional.interpolate does without align_corners.
    """
    height, width = size
    if scores.shape[1:] == size:
        yield 0, scores
        return
    strip = max(1, _STRIP_VALUES // (len(scores) * width))
    left, right, across = _neighbours(scores.shape[2], width)
    above, below, down = _neighbours(scores.shape[1], height)
    for start in range(0, height, strip):
        rows = slice(start, start + strip)
        weight = down[rows, None]
        between = scores[:, above[rows]] * (1 - weight) + scores[:, below[rows]] * weight
        yield start, between[:, :, left] * (1 - across) + between[:, :, right] * across


def _neighbours(count: int, wanted: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """For `wanted` positions along `count` values: the value before and after each, and the weight of the latter."""
    at = np.maximum((np.arange(wanted) + 0.5) * (count / wanted) - 0.5, 0)
    before = np.minimum(at.astype(np.int64), count - 1)
    return before, np.minimum(before + 1, count - 1), (at - before).astype(np.float32)


def _shares(labels: Labels) -> NDArray[np.float64]:
    """Share of the pixels [h, w] that each class has, float64 [65536]."""
    return np.bincount(labels.ravel(), minlength=WIDE_VOID + 1) / max(1, labels.size)


def _pooled(scores: NDArray[Any], extreme: np.ufunc) -> NDArray[Any]:
    """Reduce cells of scores [batch, classes, h, w] to their maximum or minimum, [batch, classes, 128, 128] at most."""
    for axis in (2, 3):
        cells = min(_CELLS, scores.shape[axis])
        scores = extreme.reduceat(scores, np.arange(cells) * scores.shape[axis] // cells, axis=axis)
    return scores


def _format(parameters: Mapping[str, object]) -> str:
    found = parameters.get("format", "png")
    if found not in FORMATS:
        raise RequestError(f"parameter format is {str(found)[:40]!r}; allowed: {' or '.join(FORMATS)}")
    return str(found)


def _kept(classes: object, request: Request) -> frozenset[int] | None:
    """Indexes of the classes that the parameter asks for, by label or index; None where it asks for all.

    Raises:
        RequestError: it is no list of labels and indexes, or an unknown one.
    """
    if classes is None and "classes" not in request.parameters:
        return None
    if not isinstance(classes, list) or not classes:
        raise RequestError(
            f"parameter classes is {str(classes)[:40]!r}; allowed: a list of labels and indexes of classes"
        )
    count = class_count([array.shape for array in request.outputs.values() if array.dtype.kind == "f"], {}) or WIDE_VOID
    names = {label: index for index, label in enumerate(request.labels)}
    kept = set()
    for wanted in classes:
        index = names.get(wanted) if isinstance(wanted, str) else wanted
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < count:
            labels = ", ".join(request.labels[:20]) + (", …" if len(request.labels) > 20 else "")
            raise RequestError(
                f"parameter classes has {str(wanted)[:40]!r}; allowed: 0 to {count - 1}"
                + (f", or one of {labels}" if labels else "")
            )
        kept.add(index)
    return frozenset(kept)


def _only(labels: Labels, kept: frozenset[int]) -> Labels:
    """The classes [h, w] of `kept`; all other pixels are without one."""
    return np.where(np.isin(labels, list(kept)), labels, _void(labels)).astype(labels.dtype)


def _void(labels: Labels) -> int:
    """Value of pixels without a class in a map [h, w] of this dtype."""
    return VOID if labels.dtype == np.uint8 else WIDE_VOID


def _prediction(mask: Labels, kind: str, labels: Sequence[str]) -> dict[str, object]:
    counts = np.bincount(mask.ravel(), minlength=_void(mask) + 1)[: _void(mask)]
    total = int(counts.sum())
    order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    encoded = _png(mask) if kind == "png" else _rle(mask)
    return {
        "mask": encoded,
        "size": list(mask.shape),
        "classes": [
            {"label": _label(labels, index), "index": index, "share": round(int(counts[index]) / total, _DECIMALS)}
            for index in order.tolist()
        ],
    }


def _png(mask: Labels) -> dict[str, object]:
    with io.BytesIO() as buffer:
        Image.fromarray(mask).save(buffer, "PNG")
        return {"format": "png", "b64": base64.b64encode(buffer.getvalue()).decode("ascii")}


def _rle(mask: Labels) -> dict[str, object]:
    counts = {str(index): text for index, text in encode_classes(mask).items() if index != _void(mask)}
    return {"format": "rle", "size": list(mask.shape), "counts": counts}


def _label(labels: Sequence[str], index: int) -> str:
    return labels[index] if index < len(labels) else f"class {index}"
