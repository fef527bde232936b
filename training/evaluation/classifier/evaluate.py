"""Evaluation of classifiers: predictions of several sources for labelled pictures, counted in one pass."""

import io
from collections.abc import Sequence
from functools import partial

import numpy as np
from PIL import Image, ImageOps

from shardline.partition.compare import Outputs
from shardline.training.evaluation.classifier.metrics import (
    ClassifierAccumulator,
    ClassifierReport,
    model_classes,
)
from shardline.training.evaluation.classifier.pictures import LabelledPicture, LabelledPictures, open_pictures
from shardline.training.evaluation.classifier.report import classifier_page
from shardline.training.evaluation.classifier.sources import ClassifierSource, ClassifierSources, ClassPrediction
from shardline.training.evaluation.metrics import SourceComparison
from shardline.training.evaluation.plots import Thumbnail, shorten_name
from shardline.training.evaluation.report import Evaluation, complete, make_report_folder
from shardline.training.evaluation.run import Advance, EvaluationRun, WorstCases, predict_all
from shardline.training.evaluation.served import open_sources
from shardline.training.folder import check_pictures

_THUMBNAIL_PX = (320, 240)


def evaluate_classifier(run: EvaluationRun, *, data: str, count: int | None, most_mistakes: int) -> Evaluation:
    """Open pictures and sources, evaluate, and write the report.

    Args:
        data: a folder, or "digits".
        count: at most this number of pictures.
        most_mistakes: thumbnails in the report.

    Raises:
        ShardlineError: a picture or a model cannot be read, a source does not answer, a label is unknown to it, or the
            report cannot be written.
    """
    make_report_folder(run.out)
    with open_pictures(data, count) as pictures:
        sources = open_sources(ClassifierSources(program=run.program), run)
        run.progress(f"looking through {len(pictures)} pictures")
        check_pictures(pictures.files)
        with run.bar(len(pictures)) as advance:
            report, mistakes = evaluate(pictures, sources, most_mistakes, advance)
    return complete(run, report.to_dict(), classifier_page(report, mistakes, data))


def evaluate(
    pictures: LabelledPictures,
    sources: Sequence[ClassifierSource],
    most_mistakes: int = 48,
    advance: Advance = lambda: None,
) -> tuple[ClassifierReport, list[Thumbnail]]:
    """Evaluate the sources; return the report and the first source's mistakes with the highest scores.

    Args:
        advance: called after each picture.

    Raises:
        ShardlineError: a picture cannot be read, a source does not answer, or a label is unknown to it.
    """
    accumulators = [ClassifierAccumulator(source.name, pictures.labels) for source in sources]
    comparisons = [SourceComparison(source.name) for source in sources[1:]]
    worst: WorstCases[Thumbnail] = WorstCases(most=most_mistakes)
    for picture, predictions in predict_all(pictures, [source.predict for source in sources], advance):
        first = predictions[0]
        right = [
            accumulator.add(picture.label, prediction)
            for accumulator, prediction in zip(accumulators, predictions, strict=True)
        ]
        for comparison, prediction in zip(comparisons, predictions[1:], strict=True):
            same = _predicted_label(prediction) == _predicted_label(first)
            comparison.add(picture.name, *_compared_arrays(prediction, first), same=same)
        if not right[0]:
            badness = float(first.scores[first.order[0]])
            worst.add(badness, partial(_thumbnail, picture, pictures.labels[picture.label], first))
    report = ClassifierReport(
        pictures=len(pictures),
        labels=pictures.labels,
        sides=tuple(accumulator.metrics() for accumulator in accumulators),
        differences=tuple(comparison.difference() for comparison in comparisons),
    )
    return report, worst.worst_first()


def _predicted_label(prediction: ClassPrediction) -> str:
    return prediction.labels[int(prediction.order[0])]


def _compared_arrays(found: ClassPrediction, first: ClassPrediction) -> tuple[Outputs, Outputs]:
    """Arrays that are compared to the bit: the outputs, or the scores of all classes where a source has none."""
    if found.outputs is not None and first.outputs is not None:
        return found.outputs, first.outputs
    return {"scores": found.scores}, {"scores": first.scores}


def _thumbnail(picture: LabelledPicture, label: str, predicted: ClassPrediction) -> Thumbnail:
    """A mistake: the picture, its label and the predicted one, with both scores."""
    with Image.open(io.BytesIO(picture.picture)) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGB")
    score = predicted.scores[model_classes([label], predicted.labels)[0]]
    highest = predicted.scores[predicted.order[0]]
    return Thumbnail(
        pixels=np.asarray(ImageOps.pad(image, _THUMBNAIL_PX, color="#eeeeee")),
        title=f"{label}: {score:.2f}\n→ {_predicted_label(predicted)}: {highest:.2f}\n{shorten_name(picture.name)}",
    )
