"""Evaluation of detectors: objects of several sources in annotated pictures, counted in one pass, and the worst misses.

A false positive is the worse the higher its score, and a missed object the more of the picture's side it covers.
"""

import math
from collections import deque
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from shardline.client.boxes import DetectedObject
from shardline.training.evaluation.coco import AveragePrecision, Box, ScoredBoxes, match, overlaps
from shardline.training.evaluation.detector.metrics import DetectorReport, detector_metrics
from shardline.training.evaluation.detector.pictures import AnnotatedPicture, AnnotatedPictures, open_pictures
from shardline.training.evaluation.detector.report import detector_page
from shardline.training.evaluation.detector.sources import DetectedPicture, DetectorSource, DetectorSources
from shardline.training.evaluation.metrics import SourceComparison
from shardline.training.evaluation.plots import Thumbnail, shorten_name
from shardline.training.evaluation.report import Evaluation, complete, make_report_folder
from shardline.training.evaluation.run import Advance, EvaluationRun, WorstCases, predict_all
from shardline.training.evaluation.served import open_sources
from shardline.training.evaluation.thumbnails import crop_around, moved_outline
from shardline.training.folder import check_pictures
from shardline.wire.errors import DatasetError

_MOST_DETECTIONS = 100  # of a class in a picture, as in COCO's metrics
_LEAST_OVERLAP = 0.5  # IoU of a mistake's boxes


def evaluate_detector(
    run: EvaluationRun,
    *,
    data: Path,
    annotations: Path | None,
    count: int | None,
    threshold: float,
    most_mistakes: int,
) -> Evaluation:
    """Open pictures and sources, evaluate, and write the report.

    Args:
        data: folder of the pictures.
        annotations: COCO's JSON; None: YOLO's text files lie beside the pictures.
        count: at most this number of pictures.
        threshold: least score of the objects that precision, recall and mistakes are of.
        most_mistakes: thumbnails in the report.

    Raises:
        ShardlineError: a picture or a model cannot be read, a source does not answer, a class is unknown to it, or the
            report cannot be written.
    """
    make_report_folder(run.out)
    pictures = open_pictures(data, annotations, count)
    sources = open_sources(DetectorSources(program=run.program), run)
    run.progress(f"looking through {len(pictures)} pictures and their annotations")
    check_pictures(pictures.files)
    deque(pictures, maxlen=0)  # a wrong annotation is found now
    with run.bar(len(pictures)) as advance:
        report, mistakes = evaluate(pictures, sources, threshold, most_mistakes, advance)
    page = detector_page(report, mistakes, str(annotations or data))
    return complete(run, report.to_dict(), page)


def evaluate(
    pictures: AnnotatedPictures,
    sources: Sequence[DetectorSource],
    threshold: float,
    most_mistakes: int = 48,
    advance: Advance = lambda: None,
) -> tuple[DetectorReport, list[Thumbnail]]:
    """Evaluate the sources; return the report and the first source's worst mistakes, the worst first.

    Args:
        advance: called after each picture.

    Raises:
        ShardlineError: a picture cannot be read, a source does not answer, or a class is unknown to it.
    """
    for source in sources:
        _check_labels(pictures, source)
    classes = _Classes(pictures)
    accumulators = [AveragePrecision(pictures.labels, _MOST_DETECTIONS) for _ in sources]
    comparisons = [SourceComparison(source.name) for source in sources[1:]]
    worst: WorstCases[Thumbnail] = WorstCases(most=most_mistakes)
    for picture, predictions in predict_all(pictures, [source.predict for source in sources], advance):
        first = predictions[0]
        for accumulator, prediction in zip(accumulators, predictions, strict=True):
            accumulator.add(picture.objects, classes.scored_boxes(prediction))
        for comparison, prediction in zip(comparisons, predictions[1:], strict=True):
            comparison.add(picture.name, prediction.outputs, first.outputs, same=prediction.objects == first.objects)
        likely = [item for item in first.objects if item.score >= threshold and classes.of(item) is not None]
        _add_mistakes(worst, picture, likely, classes)
    if classes.unknown and not classes.known:
        raise DatasetError(
            f"none of the objects found is of a class of the data, {', '.join(pictures.labels[:5])}, …; found: "
            f"{', '.join(sorted(classes.unknown)[:5])}: name the classes as the model does"
        )
    report = DetectorReport(
        threshold=threshold,
        pictures=len(pictures),
        sides=tuple(
            detector_metrics(source.name, accumulator.metrics(threshold))
            for source, accumulator in zip(sources, accumulators, strict=True)
        ),
        differences=tuple(comparison.difference() for comparison in comparisons),
    )
    return report, worst.worst_first()


class _Classes:
    """The data's class of each object that a model finds, and the names of the classes that were met."""

    def __init__(self, pictures: AnnotatedPictures) -> None:
        self._by_index = pictures.by_index
        self._position = {name: number for number, name in enumerate(pictures.labels)}
        self._count = len(pictures.labels)
        self.labels = pictures.labels
        self.known = False
        self.unknown: set[str] = set()

    def of(self, item: DetectedObject) -> int | None:
        """Index of the object's class in the data; None where the data do not have it."""
        if self._by_index:
            return item.index if item.index < self._count else None
        return self._position.get(item.label)

    def scored_boxes(self, prediction: DetectedPicture) -> ScoredBoxes:
        found = [(self.of(item), item) for item in prediction.objects]
        counted = [(label, item) for label, item in found if label is not None]
        self.known = self.known or bool(counted)
        self.unknown.update(item.label for label, item in found if label is None)
        return ScoredBoxes(
            labels=np.array([label for label, _ in counted], np.int64),
            scores=np.array([item.score for _, item in counted], np.float64),
            boxes=np.array([item.box for _, item in counted], np.float64).reshape(-1, 4),
        )


def _check_labels(pictures: AnnotatedPictures, source: DetectorSource) -> None:
    used = {entry["label"] for entries in pictures.annotations for entry in entries}
    names = [pictures.labels[label] for label in sorted(used) if label < len(pictures.labels)]
    unknown = [name for name in names if name not in source.labels]
    if source.labels and not pictures.by_index and unknown:
        raise DatasetError(
            f"{len(unknown)} classes of the data are none of {source.name}'s, the first is {unknown[0]!r}; its labels "
            f"begin with {', '.join(source.labels[:5])}: name the classes as the model does"
        )


def _add_mistakes(
    worst: WorstCases[Thumbnail], picture: AnnotatedPicture, found: Sequence[DetectedObject], classes: _Classes
) -> None:
    """Add the objects of one picture that were missed, and the false positives."""
    missed = {number for number, item in enumerate(picture.objects) if not item.crowd}
    for label in {classes.of(item) for item in found}:
        of_class = [item for item in found if classes.of(item) == label]
        true = [number for number, item in enumerate(picture.objects) if item.label == label]
        crowd = [picture.objects[number].crowd for number in true]
        overlap = overlaps([item.box for item in of_class], [picture.objects[number].box for number in true], crowd)
        for item, row, matched in zip(of_class, overlap, match(overlap, _LEAST_OVERLAP), strict=True):
            if matched is not None:
                missed.discard(true[matched])
            elif not (row[crowd] >= _LEAST_OVERLAP).any():
                text = f"nothing\n→ {item.label}, {item.score:.2f}"
                worst.add(item.score, partial(_thumbnail, picture, item.box, text, found=True))
    for number in sorted(missed):
        true_object = picture.objects[number]
        left, top, right, bottom = true_object.box
        share = math.sqrt((right - left) * (bottom - top) / (picture.size[0] * picture.size[1]))
        text = f"{classes.labels[true_object.label]}\n→ missed"
        worst.add(share, partial(_thumbnail, picture, true_object.box, text, found=False))


def _thumbnail(picture: AnnotatedPicture, box: Box, text: str, *, found: bool) -> Thumbnail:
    pixels, corner, zoom = crop_around(picture.picture, box)
    left, top, right, bottom = box
    outline = moved_outline(((left, top), (right, top), (right, bottom), (left, bottom)), corner, zoom)
    return Thumbnail(
        pixels=pixels,
        title=f"{text}\n{shorten_name(picture.name)}",
        true_outline=None if found else outline,
        found_outline=outline if found else None,
    )
