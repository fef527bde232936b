"""Every command that goes through a folder of pictures names all the broken ones before it begins."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from cases.pictures import good, write_broken
from PIL import Image
from services.cli import run_command

from shardline.training.embedding.index import index_pictures
from shardline.training.evaluation.classifier.evaluate import evaluate_classifier
from shardline.training.evaluation.detector.evaluate import evaluate_detector
from shardline.training.evaluation.plates.evaluate import evaluate_plates
from shardline.training.evaluation.plates.pictures import StoredPictures
from shardline.training.evaluation.retrieval.evaluate import evaluate_retrieval
from shardline.training.evaluation.run import EvaluationRun
from shardline.training.evaluation.segmenter.evaluate import evaluate_segmenter
from shardline.training.folder import find_photographs
from shardline.training.plates.annotations import ANNOTATIONS
from shardline.wire.errors import DatasetError

NOBODY = EvaluationRun(  # no request is sent
    model=None, url="http://127.0.0.1:9", progress=lambda _: None, bar=lambda _: nullcontext(lambda: None)
)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two classes with five broken pictures."""
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "good.png").write_bytes(good())
    write_broken(tmp_path / "cat")
    return tmp_path


def as_detections(folder: Path) -> None:
    (folder / "dog" / "good.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    evaluate_detector(NOBODY, data=folder, annotations=None, count=None, threshold=0.5, most_mistakes=0)


def as_segmentations(folder: Path) -> None:
    for file in folder.rglob("[!._]*.*"):
        mask = (folder / "masks" / file.relative_to(folder)).with_suffix(".png")
        mask.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8)).save(mask)
    evaluate_segmenter(NOBODY, data=folder / "cat", masks=folder / "masks" / "cat", count=None, most=0)


def as_drawn_plates(folder: Path) -> None:
    files = sorted((folder / "cat").glob("[!._]*.*"))
    document: dict[str, Any] = {"categories": [], "annotations": []}
    document["images"] = [{"id": number, "file_name": f"cat/{file.name}"} for number, file in enumerate(files)]
    (folder / ANNOTATIONS).write_text(json.dumps(document))
    of_plates(folder, stored=folder)


def of_plates(folder: Path, *, stored: Path | None = None, plain: Any = None) -> None:
    evaluate_plates(
        NOBODY,
        stored=stored or folder,
        count=1,
        seed=0,
        fonts="train",
        backgrounds=(),
        size=None,
        covered_characters=0,
        grammar=StoredPictures(stored or folder).grammar,
        tiling="once",
        threshold=0.5,
        plain=plain,
        most_misses=0,
    )


@pytest.mark.parametrize(
    "run",
    [
        lambda folder: evaluate_classifier(NOBODY, data=str(folder), count=None, most_mistakes=0),
        lambda folder: evaluate_retrieval(
            NOBODY, data=str(folder), count=None, k=1, nprobe=None, ef_search=None, most_mistakes=0
        ),
        as_detections,
        as_segmentations,
        as_drawn_plates,
        find_photographs,
    ],
    ids=["classifier", "retrieval", "detector", "segmenter", "plates", "backgrounds"],
)
def test_all_broken_pictures_are_named_before_the_work(run: Callable[[Path], object], pictures: Path) -> None:
    with pytest.raises(DatasetError, match=r"5 of \d+ pictures cannot be opened") as caught:
        run(pictures)

    assert all(name in str(caught.value) for name in ("empty.jpg", "cut_off.jpg", "page.png", "photo.jpg", "huge.png"))


def test_an_index_is_not_begun(pictures: Path, small_bundle: Path) -> None:
    with pytest.raises(DatasetError, match=r"5 of 7 pictures cannot be opened"):
        index_pictures(small_bundle, pictures, "train", lambda _: nullcontext(lambda _: None))


def test_plates_are_not_drawn(pictures: Path) -> None:
    drawn = run_command(
        "plates", "draw", "--out", str(pictures / "out"), "--count", "1", "--background", str(pictures / "cat"), code=1
    )

    assert "5 of 6 pictures cannot be opened" in drawn.stderr
    assert not (pictures / "out").exists()


def test_a_wrong_mask_is_found_before_the_work(tmp_path: Path) -> None:
    for name in ("data", "masks"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(good())

    with pytest.raises(DatasetError, match="has the mode RGB"):
        evaluate_segmenter(NOBODY, data=tmp_path / "data", masks=tmp_path / "masks", count=None, most=0)
