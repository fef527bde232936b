"""Evaluation of segmentations: masks of several sources, counted in one pass, and the worst pictures."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence, Sized
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from shardline.client.canvas import class_colours
from shardline.client.pictures import open_upright
from shardline.partition.compare import Outputs
from shardline.training.evaluation.metrics import SourceComparison
from shardline.training.evaluation.plots import Thumbnail, shorten_name
from shardline.training.evaluation.report import Evaluation, complete, make_report_folder
from shardline.training.evaluation.run import Advance, EvaluationRun, WorstCases, predict_all
from shardline.training.evaluation.segmenter.metrics import SegmenterAccumulator, SegmenterReport
from shardline.training.evaluation.segmenter.pictures import IGNORED, SegmentedPicture, TrueLabels, open_segmented
from shardline.training.evaluation.segmenter.report import segmenter_page
from shardline.training.evaluation.segmenter.sources import (
    Mask,
    MaskPrediction,
    SegmenterSource,
    SegmenterSources,
)
from shardline.training.evaluation.served import open_sources
from shardline.training.folder import check_pictures
from shardline.wire.errors import DatasetError

_THUMBNAIL_PX = (240, 240)
_OPACITY = 0.6


class Pictures(Sized, Iterable[SegmentedPicture], Protocol):
    """Pictures with masks whose number is known."""


def evaluate_segmenter(run: EvaluationRun, *, data: Path, masks: Path, count: int | None, most: int) -> Evaluation:
    """Open pictures and sources, evaluate, and write the report.

    Args:
        data: folder of the pictures.
        masks: folder of their masks.
        count: at most this number of pictures.
        most: pictures in the report, the worst first.

    Raises:
        ShardlineError: a picture, a mask or a model cannot be read, a source does not answer, or the report cannot be
            written.
    """
    make_report_folder(run.out)
    pictures = open_segmented(data, masks, count)
    sources = open_sources(SegmenterSources(program=run.program), run)
    run.progress(f"looking through {len(pictures)} pictures and their masks")
    check_pictures(pictures.files)
    deque((picture.classes() for picture in pictures), maxlen=0)  # a wrong mask is found now
    with run.bar(len(pictures)) as advance:
        report, worst = evaluate(pictures, sources, most, advance)
    return complete(run, report.to_dict(), segmenter_page(report, worst, data))


def evaluate(
    pictures: Pictures, sources: Sequence[SegmenterSource], most: int = 24, advance: Advance = lambda: None
) -> tuple[SegmenterReport, list[Thumbnail]]:
    """Evaluate the sources; return the report and the first source's worst pictures.

    Args:
        advance: called after each picture.

    Raises:
        ShardlineError: a picture or its mask cannot be read, or a source does not answer.
    """
    accumulators = [SegmenterAccumulator(source.name) for source in sources]
    comparisons = [SourceComparison(source.name) for source in sources[1:]]
    labels: dict[int, str] = {}
    worst: WorstCases[Thumbnail] = WorstCases(most=most)
    for picture, predictions in predict_all(pictures, [source.predict for source in sources], advance):
        true, first = picture.classes(), predictions[0]
        for prediction in predictions:
            labels.update(prediction.labels)
            _check_classes(true, prediction, picture)
        found = [prediction.in_size(*true.shape) for prediction in predictions]
        right = [accumulator.add(true, mask) for accumulator, mask in zip(accumulators, found, strict=True)]
        for comparison, prediction, mask in zip(comparisons, predictions[1:], found[1:], strict=True):
            same = np.array_equal(mask, found[0])
            comparison.add(picture.name, *_compared_arrays(prediction, first), same=same)
        worst.add(1 - right[0], partial(_thumbnail, picture, true, found[0], right[0]))
    report = SegmenterReport(
        pictures=len(pictures),
        sides=tuple(accumulator.metrics(labels) for accumulator in accumulators),
        differences=tuple(comparison.difference() for comparison in comparisons),
    )
    return report, worst.worst_first()


def _check_classes(true: TrueLabels, prediction: MaskPrediction, picture: SegmentedPicture) -> None:
    """Check that the model has the classes of a true mask, integers [height, width], where its classes are known."""
    if prediction.outputs is None:
        return
    first = next((array for array in prediction.outputs.values() if array.ndim == 4), None)
    classes = max(first.shape[1], 2) if first is not None and first.dtype.kind == "f" else None
    highest = int(true[true != IGNORED].max(initial=0))
    if classes is not None and highest >= classes:
        raise DatasetError(
            f"the mask {picture.mask} has the class {highest}; the model has 0 to {classes - 1}, and {IGNORED} is "
            "ignored"
        )


def _compared_arrays(found: MaskPrediction, first: MaskPrediction) -> tuple[Outputs, Outputs]:
    """Arrays that are compared to the bit: the outputs, or the masks where a source has none."""
    if found.outputs is not None and first.outputs is not None:
        return found.outputs, first.outputs
    return {"mask": found.mask}, {"mask": first.mask}


def _thumbnail(picture: SegmentedPicture, true: TrueLabels, predicted: Mask, right: float) -> Thumbnail:
    """The picture twice: on the left with the true mask over it, on the right with the predicted one."""
    image = np.asarray(open_upright(picture.picture).convert("RGB").resize(true.shape[::-1]))
    void = int(np.iinfo(predicted.dtype).max)
    found = np.where(predicted == void, IGNORED, predicted)
    colours = class_colours(sorted({*np.unique(true).tolist(), *np.unique(found).tolist()} - {0, IGNORED}))
    halves = [_overlaid(image, mask, colours) for mask in (true, found)]
    return Thumbnail(
        pixels=np.concatenate(halves, axis=1),
        title=f"{right:.1%} of the pixels right\n{shorten_name(picture.name)}",
    )


def _overlaid(
    image: NDArray[np.uint8], mask: NDArray[np.integer], colours: Mapping[int, tuple[int, int, int]]
) -> NDArray[np.uint8]:
    """A picture [height, width, 3] under the colours of a mask's classes, shrunk; class 0 stays clear."""
    result = image.astype(np.float64)
    for index, colour in colours.items():
        here = mask == index
        result[here] = (1 - _OPACITY) * result[here] + _OPACITY * np.array(colour)
    return np.asarray(ImageOps.pad(Image.fromarray(result.astype(np.uint8)), _THUMBNAIL_PX, color="#eeeeee"))
