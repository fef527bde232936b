"""Object detection: boxes and scores, or a YOLO head -> the objects in each picture, in pixels of the sent picture.

docs/detect.md is the normative page: the outputs that a model may have, the options that say what they mean, and the
parameters of a request. Reading the outputs, non-maximum suppression and the limits need numpy alone.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from shardline.tasks.request import Options, Outputs, Request, Shape, check_names, not_finite, share, whole_number
from shardline.tasks.suppression import suppress
from shardline.wire.errors import BundleError, FrameError, ShardlineError
from shardline.wire.typed import typed
from shardline.wire.view import View

PARAMETERS = frozenset({"threshold", "iou", "top"})
MOST_OBJECTS = 1000  # in a reply
MOST_CANDIDATES = 30_000  # of one picture that enter the suppression, highest score first

Floats = NDArray[np.float32]
Indexes = NDArray[np.int64]

_ANSWER_SCORE = 0.5  # objects below it do not count where two models' answers are compared
_BUCKETS = 64  # classes with the same index modulo this are compared together
_ROUNDING = 1e-3  # of probabilities, in bf16 and fp16
_DECIMALS, _SCORE_DECIMALS = 2, 6
_LEAST_PIXELS = 2.0  # boxes in pixels that all end before it are shares
_MOST_SHARE = 8.0  # boxes in shares that reach beyond it are pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectOptions:
    """Options of the task: what the outputs mean, and the defaults of a request's parameters.

    Attributes:
        layout: "separate": boxes [batch, n, 4] and scores [batch, n, classes], or boxes, scores [batch, n] and int
            classes [batch, n]; "yolov8": one output [batch, 4 + classes, n]; "yolov5": one output
            [batch, n, 5 + classes], whose fifth value is the objectness.
        boxes: "xyxy": left, top, right, bottom; "cxcywh": centre, width, height.
        unit: of the boxes: "pixels" of the network's input, or "share": of its width and height.
        scores: "probabilities"; "logits", of which softmax is taken over the classes; "sigmoid": logits of which
            sigmoid is taken.
        background: index of the class that is no object; -1: there is none.
        threshold: scores of objects are above it.
        iou: overlap above which the lower of two boxes of a class is suppressed; 1 suppresses none.
        top: largest number of objects in a reply.
    """

    layout: Literal["separate", "yolov8", "yolov5"] = "separate"
    boxes: Literal["xyxy", "cxcywh"] = "xyxy"
    unit: Literal["pixels", "share"] = "pixels"
    scores: Literal["probabilities", "logits", "sigmoid"] = "probabilities"
    background: int = -1
    threshold: float = 0.25
    iou: float = 0.5
    top: int = 100

    def __post_init__(self) -> None:
        for name in ("threshold", "iou"):
            if not 0 <= getattr(self, name) <= 1:
                raise _bad_option(f"{name} is {getattr(self, name)}; allowed: from 0 to 1")
        if not 1 <= self.top <= MOST_OBJECTS:
            raise _bad_option(f"top is {self.top}; allowed: from 1 to {MOST_OBJECTS}")
        if self.background < -1:
            raise _bad_option(f"background is {self.background}; allowed: a class's index from 0, or -1 for none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Boxes of a batch with their scores, before suppression.

    Attributes:
        boxes: float32 [batch, n, 4], (left, top, right, bottom) in the options' unit.
        scores: float32 [batch, n, classes]; one column where each box has one class.
        classes: int64 [batch, n], the class of each box; None where each box has a score for every class.
        single: True where a box is an object of its likeliest class alone.
    """

    boxes: Floats
    scores: Floats
    classes: Indexes | None = None
    single: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectedObjects:
    """n objects in one picture, highest score first; boxes as in `Candidates`, float32 [n, 4]."""

    boxes: Floats
    scores: Floats
    classes: Indexes


def reply(request: Request) -> list[dict[str, list[dict[str, object]]]]:
    """Build the objects of each instance from the last shard's outputs, highest score first.

    Parameters: "threshold" and "iou", from 0 to 1, and "top", from 1 to 1000; by default the bundle's options.

    Args:
        request: outputs of a layout that docs/detect.md describes, and one view for each instance.

    Returns:
        [{"boxes": [{"label": str, "index": int, "score": float, "box": [left, top, right, bottom]}]}] in pixels of the
        upright picture that was sent, clipped to it. A box with nothing in the picture is left out.

    Raises:
        RequestError: an unknown parameter, or one out of range.
        BundleError: unknown options, or outputs of another layout.
        FrameError: the frame has no views, so positions in the pictures that were sent are unknown.
        ShardlineError: NaN or infinity among the outputs, scores that are no probabilities, or boxes of another unit.
    """
    options = parse_options(request.options)
    check_names(request.parameters, PARAMETERS)
    threshold = share(request.parameters, "threshold", options.threshold)
    iou = share(request.parameters, "iou", options.iou)
    top = whole_number(request.parameters, "top", MOST_OBJECTS) or options.top
    candidates = read_candidates(request.outputs, options)
    count = len(candidates.boxes)
    if len(request.views) != count:
        raise FrameError(
            f"a frame has {len(request.views)} views for {count} instances; allowed: one each, for objects are "
            "answered in pixels of the picture that was sent; serve the transformer and all stages from one release"
        )
    scale = _pixels_per_unit(options, request.input_size)
    found = [_objects(candidates, instance, options, threshold, iou, top) for instance in range(count)]
    _check_unit(candidates, found, options.unit)
    return [
        {"boxes": _to_json(objects, view, scale, request.labels)}
        for objects, view in zip(found, request.views, strict=True)
    ]


def answers(outputs: Outputs, options: Options) -> Sequence[Hashable]:
    """Classes of the objects with a score above 0.5 in each picture, wherever they are.

    Args:
        outputs: as `reply`.

    Raises:
        BundleError, ShardlineError: as `reply`.
    """
    parsed = parse_options(options)
    candidates = read_candidates(outputs, parsed)
    threshold = max(_ANSWER_SCORE, parsed.threshold)
    found = (
        _objects(candidates, instance, parsed, threshold, parsed.iou, parsed.top)
        for instance in range(len(candidates.boxes))
    )
    return [tuple(sorted(objects.classes.tolist())) for objects in found]


def comparable(outputs: Outputs, options: Options) -> Outputs:
    """Sums over the candidates of each class, in which their order does not count.

    A candidate weighs the square of its score above the least listed score of its class: where two change places at the
    end of a list that the model itself cut off, both weigh little.

    Args:
        outputs: as `reply`.

    Returns:
        `sums`, float64 [batch, 64], of the weights of classes by their index modulo 64, and `positions`, float64
        [batch, 64, 4], of their boxes, weighted, over the sum of all weights.
    """
    candidates = read_candidates(outputs, parse_options(options))
    batch, count, columns = candidates.scores.shape
    labels = np.broadcast_to(np.arange(columns), (batch, count, columns))
    if candidates.classes is not None:
        labels = candidates.classes[:, :, None]
    sums, positions = np.zeros((batch, _BUCKETS)), np.zeros((batch, _BUCKETS, 4))
    for instance in range(batch):
        scores = candidates.scores[instance].astype(np.float64)
        bucket = labels[instance] % _BUCKETS
        least = np.full(_BUCKETS, np.inf)
        np.minimum.at(least, bucket, scores)
        weights = np.square(scores - least[bucket])
        sums[instance] = np.bincount(bucket.ravel(), weights.ravel(), _BUCKETS)
        boxes = candidates.boxes[instance].astype(np.float64)
        for side in range(4):
            weighted = (weights * boxes[:, None, side]).ravel()
            positions[instance, :, side] = np.bincount(bucket.ravel(), weighted, _BUCKETS)
        positions[instance] /= max(sums[instance].sum(), 1e-12)
    return {"sums": sums, "positions": positions}


def class_count(shapes: Sequence[Shape], options: Options) -> int | None:
    """Number of classes by the shapes of the outputs; None where each box comes with its class's index."""
    parsed = parse_options(options)
    if parsed.layout != "separate":
        axis, extra = (1, 4) if parsed.layout == "yolov8" else (2, 5)
        sizes = [shape[axis] for shape in shapes[:1] if len(shape) == 3]
        return sizes[0] - extra if sizes and isinstance(sizes[0], int) else None
    deep = [shape for shape in shapes if len(shape) == 3]
    if len(deep) != 2:
        return None
    last = (deep[1] if deep[0][2] == 4 else deep[0])[2]
    return last if isinstance(last, int) else None


def check_options(options: Options) -> None:
    """Check the options that a bundle gives the task.

    Raises:
        BundleError: an unknown option, or a value that is not allowed.
    """
    parse_options(options)


def parse_options(options: Options) -> DetectOptions:
    """Parse the options of a bundle; those that are not given have their default. YOLO layouts give cxcywh by default.

    Raises:
        BundleError: an unknown option, or a value that is not allowed.
    """
    given = dict(options)
    if given.get("layout", "separate") != "separate":
        given.setdefault("boxes", "cxcywh")
    return typed(DetectOptions, given, error=_bad_option)


def read_candidates(outputs: Outputs, options: DetectOptions) -> Candidates:
    """Read a model's outputs, of any layout, as boxes with probabilities.

    Args:
        outputs: name -> array [batch, …], in the model's order.

    Raises:
        BundleError: these are no outputs of the layout.
        ShardlineError: NaN or infinity among them, or scores that are no probabilities.
    """
    raw = _separate(outputs) if options.layout == "separate" else _yolo(outputs, options.layout)
    if raw.classes is not None and options.scores == "logits":
        raise _bad_option("scores is logits, and each box has one score; allowed: probabilities or sigmoid")
    for array in (raw.boxes, raw.scores):
        broken = np.flatnonzero(~np.isfinite(array).all(axis=(1, 2)))
        if broken.size:
            raise not_finite(int(broken[0]))
    scores = _probabilities(raw.scores, options.scores)
    if options.layout == "yolov5":
        scores = scores[:, :, :1] * scores[:, :, 1:]  # objectness times the class's score
    boxes = raw.boxes
    if options.boxes == "cxcywh":
        half = boxes[:, :, 2:] / 2
        boxes = np.concatenate((boxes[:, :, :2] - half, boxes[:, :, :2] + half), axis=2)
    return Candidates(boxes=boxes, scores=scores, classes=raw.classes, single=raw.single)


def _separate(outputs: Outputs) -> Candidates:
    floats = [array for array in outputs.values() if array.dtype.kind == "f"]
    deep = [array for array in floats if array.ndim == 3]
    boxes = next((array for array in deep if array.shape[2] == 4), None)
    if boxes is None:
        raise _other_layout(outputs, "separate")
    scores = [
        array for array in floats if array is not boxes and array.ndim in (2, 3) and array.shape[:2] == boxes.shape[:2]
    ]
    classes = [array for array in outputs.values() if array.dtype.kind in "iu" and array.shape == boxes.shape[:2]]
    if len(scores) != 1 or (scores[0].ndim == 2 and len(classes) != 1):
        raise _other_layout(outputs, "separate")
    boxes = boxes.astype(np.float32)
    if scores[0].ndim == 3:
        return Candidates(boxes=boxes, scores=scores[0].astype(np.float32))
    return Candidates(boxes=boxes, scores=scores[0].astype(np.float32)[:, :, None], classes=classes[0].astype(np.int64))


def _yolo(outputs: Outputs, layout: str) -> Candidates:
    extra = 4 if layout == "yolov8" else 5
    head = next((array for array in outputs.values() if array.ndim == 3 and array.dtype.kind == "f"), None)
    if head is not None and layout == "yolov8":
        head = head.transpose(0, 2, 1)
    if head is None or head.shape[2] <= extra:
        raise _other_layout(outputs, layout)
    values = head.astype(np.float32)
    return Candidates(boxes=values[:, :, :4], scores=values[:, :, 4:], single=True)


def _probabilities(scores: Floats, meaning: str) -> Floats:
    """Turn raw scores, float32 [batch, n, columns], into probabilities of the same shape."""
    if meaning == "probabilities":
        low, high = float(scores.min(initial=0.0)), float(scores.max(initial=0.0))
        if low < -_ROUNDING or high > 1 + _ROUNDING:
            raise ShardlineError(
                f"the model's scores reach from {low:.4g} to {high:.4g} and are no probabilities: build with the "
                "option scores=sigmoid or scores=logits, or with another layout"
            )
        return scores
    with np.errstate(over="ignore"):
        if meaning == "sigmoid":
            return np.asarray(1 / (1 + np.exp(-scores)), np.float32)
        powers = np.exp(scores - scores.max(axis=2, keepdims=True))
    return np.asarray(powers / powers.sum(axis=2, keepdims=True), np.float32)


def _objects(
    candidates: Candidates, instance: int, options: DetectOptions, threshold: float, iou: float, top: int
) -> DetectedObjects:
    """Select the objects of one picture: scores above the threshold, suppression per class, the `top` highest."""
    scores = candidates.scores[instance]
    wanted = scores > threshold
    if candidates.single:
        wanted &= np.arange(scores.shape[1]) == scores.argmax(axis=1)[:, None]
    rows, classes = np.nonzero(wanted)
    chosen = scores[rows, classes]
    if candidates.classes is not None:
        classes = candidates.classes[instance][rows]
    objects = np.flatnonzero(classes != options.background)
    likely = objects[np.argsort(-chosen[objects], kind="stable")[:MOST_CANDIDATES]]
    boxes, chosen, classes = candidates.boxes[instance][rows[likely]], chosen[likely], classes[likely]
    kept = suppress(boxes, chosen, classes, iou=iou, top=top)
    return DetectedObjects(boxes=boxes[kept], scores=chosen[kept], classes=classes[kept])


def _pixels_per_unit(options: DetectOptions, input_size: tuple[int, int] | None) -> tuple[float, float]:
    """Horizontal and vertical pixels of the network's input for one unit of the boxes."""
    if options.unit == "pixels":
        return 1.0, 1.0
    if input_size is None:
        raise BundleError("boxes in shares need the size of the network's input: serve the stages from one release")
    return float(input_size[1]), float(input_size[0])


def _check_unit(candidates: Candidates, found: Sequence[DetectedObjects], unit: str) -> None:
    """Check that boxes are as large as their unit says: all candidates in pixels, the objects in shares.

    Raises:
        ShardlineError: pixels of which none reaches beyond the first two, or shares that reach far beyond 1.
    """
    farthest = max((float(objects.boxes.max()) for objects in found if len(objects.boxes)), default=None)
    if farthest is None:
        return
    if unit == "share" and farthest > _MOST_SHARE:
        raise ShardlineError(
            f"a box reaches to {farthest:.4g} times the side of the network's input: build with the option unit=pixels"
        )
    if unit == "pixels" and (farthest := float(candidates.boxes.max())) <= _LEAST_PIXELS:
        raise ShardlineError(
            f"no box reaches beyond {farthest:.4g} pixels of the network's input: build with the option unit=share, or "
            "check the weights"
        )


def _to_json(
    found: DetectedObjects, view: View, scale: tuple[float, float], labels: tuple[str, ...]
) -> list[dict[str, object]]:
    corners = view.to_picture(found.boxes.astype(np.float64).reshape(-1, 2, 2) * scale)
    boxes = np.clip(corners, 0, (view.width, view.height)).reshape(-1, 4)
    inside = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    rows: Mapping[str, list[Any]] = {
        "index": found.classes[inside].tolist(),
        "score": found.scores[inside].astype(np.float64).tolist(),
        "box": boxes[inside].tolist(),
    }
    return [
        {
            "label": labels[index] if 0 <= index < len(labels) else f"class {index}",
            "index": index,
            "score": round(min(score, 1.0), _SCORE_DECIMALS),
            "box": [round(side, _DECIMALS) for side in box],
        }
        for index, score, box in zip(*rows.values(), strict=True)
    ]


def _other_layout(outputs: Outputs, layout: str) -> BundleError:
    found = ", ".join(f"{name} {array.dtype}{list(array.shape)}" for name, array in outputs.items())
    allowed = {
        "separate": "float boxes [batch, n, 4] and scores [batch, n, classes], or boxes, scores [batch, n] and int "
        "classes [batch, n]",
        "yolov8": "float [batch, 4 + classes, n]",
        "yolov5": "float [batch, n, 5 + classes]",
    }[layout]
    return BundleError(
        f"the model's outputs are {found or 'none'}; detect with the layout {layout} needs {allowed}: build with "
        "another option layout, or another task"
    )


def _bad_option(found: str) -> BundleError:
    return BundleError(f"an option of the task detect is wrong ({found}): docs/detect.md lists the options")
