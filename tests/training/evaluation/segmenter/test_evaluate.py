"""Evaluation of segmentations with known masks: metrics, differences, the worst pictures, and the report."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from services.colour_segmenter import CLASSES, draw, encoded

from shardline.training.evaluation.report import Evaluation, write_report
from shardline.training.evaluation.segmenter.evaluate import evaluate
from shardline.training.evaluation.segmenter.pictures import SegmentedPictures, open_segmented
from shardline.training.evaluation.segmenter.report import segmenter_page
from shardline.training.evaluation.segmenter.sources import MaskPrediction
from shardline.wire.errors import DatasetError

_, DRAWN = draw(40, 30)
_, TALL = draw(20, 60)


@dataclass(frozen=True)
class GivenMasks:
    """A source whose masks are those that `change` makes of the true ones, which it knows by the picture's size."""

    change: Callable[[np.ndarray], np.ndarray] = np.copy
    name: str = "it"
    outputs: bool = True

    def predict(self, picture: bytes) -> MaskPrediction:
        mask = self.change(DRAWN if picture == encoded(draw(40, 30)[0]) else TALL)
        scores = (np.arange(4)[:, None, None] == mask).astype(np.float32)[None]
        labels = dict(enumerate(CLASSES))
        return MaskPrediction(mask=mask, labels=labels, outputs={"out": scores} if self.outputs else None)


@pytest.fixture
def pictures(tmp_path: Path) -> SegmentedPictures:
    for name, (image, classes) in {"wide": draw(40, 30), "tall": draw(20, 60)}.items():
        for kind in ("data", "masks"):
            (tmp_path / kind).mkdir(exist_ok=True)
        (tmp_path / "data" / f"{name}.png").write_bytes(encoded(image))
        Image.fromarray(classes).save(tmp_path / "masks" / f"{name}.png")
    return open_segmented(tmp_path / "data", tmp_path / "masks")


def without_red(mask: np.ndarray) -> np.ndarray:
    return np.where(mask == 1, 0, mask).astype(np.uint8)


def test_metrics_and_differences(pictures: SegmentedPictures) -> None:
    report, worst = evaluate(
        pictures,
        [GivenMasks(), GivenMasks(name="same"), GivenMasks(without_red, name="blind"), GivenMasks(outputs=False)],
    )
    right, _, blind, _ = report.sides
    same, other, served = report.differences

    assert right.mean_iou is not None
    assert right.mean_iou.value == 1
    assert [entry.iou.value for entry in blind.classes if entry.iou][1] == 0
    assert (same.equal, same.max_abs_difference, same.same) == (2, 0, 2)
    assert (other.equal, other.same, other.others) == (0, 0, ("tall.png", "wide.png"))
    assert (served.equal, served.same) == (2, 2)
    assert len(worst) == 2


def test_a_smaller_mask_is_compared_in_the_pictures_size(pictures: SegmentedPictures) -> None:
    report, _ = evaluate(pictures, [GivenMasks(lambda mask: mask[::2, ::2])])

    assert report.sides[0].pixel_accuracy is not None
    assert 0.9 < report.sides[0].pixel_accuracy.value < 1


def test_a_class_that_the_model_does_not_have(pictures: SegmentedPictures) -> None:
    Image.fromarray(np.full((30, 40), 4, np.uint8)).save(pictures.masks[1])

    with pytest.raises(DatasetError, match=r"wide\.png has the class 4; the model has 0 to 3, and 255 is ignored"):
        evaluate(pictures, [GivenMasks()])


@pytest.mark.slow
def test_the_report(pictures: SegmentedPictures, tmp_path: Path) -> None:
    report, worst = evaluate(pictures, [GivenMasks(without_red), GivenMasks(name="other")])
    page = segmenter_page(report, worst, Path("data"))
    (tmp_path / "report").mkdir()
    write_report(Evaluation(document=report.to_dict(), page=page), tmp_path / "report")
    document = json.loads((tmp_path / "report" / "report.json").read_text())
    html = (tmp_path / "report" / "report.html").read_text()

    assert {path.name for path in (tmp_path / "report").glob("*.png")} == {"classes.png", "confusion.png", "worst.png"}
    assert document["sides"][0]["classes"][1]["label"] == "red"
    assert document["differences"][0]["same_mask"] == 0
    assert "mean IoU" in html
    assert "most frequent mistakes" in html
