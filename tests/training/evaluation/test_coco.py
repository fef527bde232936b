"""COCO's evaluator, one picture at a time: many detections of many classes, as COCO itself counts them at once."""

import io
from contextlib import redirect_stdout

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from shardline.training.evaluation.coco import AveragePrecision, ScoredBoxes, TrueObject

CLASSES, PICTURES, MOST = 5, 4, 100


def some_boxes(random: np.random.Generator, count: int) -> np.ndarray:
    corner = random.uniform(0, 60, (count, 2))
    return np.hstack((corner, corner + random.uniform(10, 40, (count, 2))))


def index(annotations: list[dict[str, object]]) -> COCO:
    made = COCO()
    made.dataset = {
        "images": [{"id": number} for number in range(PICTURES)],
        "categories": [{"id": number} for number in range(CLASSES)],
        "annotations": [{**entry, "id": number} for number, entry in enumerate(annotations, 1)],
    }
    with redirect_stdout(io.StringIO()):
        made.createIndex()
    return made


def annotation(picture: int, label: int, box: np.ndarray, **more: object) -> dict[str, object]:
    left, top, right, bottom = box.tolist()
    size = right - left, bottom - top
    area = size[0] * size[1]
    return {"image_id": picture, "category_id": label, "bbox": [left, top, *size], "area": area, "iscrowd": 0, **more}


def test_the_figures_are_those_of_coco_s_own_evaluation() -> None:
    """More detections of a class in a picture than COCO counts: the hundred with the highest scores."""
    random = np.random.default_rng(0)
    precision = AveragePrecision(tuple("abcde"), MOST)
    true, found = [], []
    for picture in range(PICTURES):
        boxes, labels = some_boxes(random, 12), random.integers(0, CLASSES - 1, 12)
        near = boxes[random.integers(0, 12, 700)] + random.normal(0, 3, (700, 4))
        guessed, scores = random.integers(0, CLASSES - 1, 700), random.uniform(0, 1, 700)
        precision.add(
            [
                TrueObject(label=label, box=tuple(box), crowd=False)
                for label, box in zip(labels.tolist(), boxes.tolist(), strict=True)
            ],
            ScoredBoxes(labels=guessed, scores=scores, boxes=near),
        )
        true += [annotation(picture, label, box) for label, box in zip(labels.tolist(), boxes, strict=True)]
        found += [
            annotation(picture, label, box, score=score)
            for label, box, score in zip(guessed.tolist(), near, scores.tolist(), strict=True)
        ]

    with redirect_stdout(io.StringIO()):
        evaluator = COCOeval(index(true), index(found), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()

    metrics = precision.metrics(0.5)
    assert metrics[CLASSES - 1].ap is None
    assert np.mean([entry.ap for entry in metrics[:-1] if entry.ap is not None]) == pytest.approx(evaluator.stats[0])
    assert np.mean([entry.ap50 for entry in metrics[:-1] if entry.ap50 is not None]) == pytest.approx(
        evaluator.stats[1]
    )
