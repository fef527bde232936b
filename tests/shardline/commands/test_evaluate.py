"""`shardline evaluate plates`: weights, a chain and its whole, a served chain, and one line for every error."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from services.chromium import open_page
from services.cli import run_command
from services.plate_reader import TEXTS
from services.processes import ROOT, running, wait_until

from shardline.partition.build import BuildOptions, build
from shardline.partition.models import load_model
from shardline.tasks.plates.grammar import built_in
from shardline.training.detector.model import PlateDetector
from shardline.training.models import for_task

CLASSES = built_in().classes

pytestmark = pytest.mark.slow

FEW = ("--count", "3", "--size", "128", "--seed", "4", "--threads", "1")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights."""
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_file(PlateDetector().state_dict(), path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same three pictures, stored."""
    path = tmp_path_factory.mktemp("drawn") / "set"
    run_command(
        "plates", "draw", "--out", str(path), "--count", "3", "--seed", "4", "--size", "128", "--fonts", "held-out"
    )
    return path


def evaluate(*arguments: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(run_command("evaluate", "plates", *arguments, "--json").stdout)
    return report


def test_weights_on_drawn_and_on_stored_pictures(weights: Path, folder: Path, tmp_path: Path) -> None:
    """The same pictures give the same metrics, and report.json equals the printed document."""
    photographs = ("--plain", str(folder))
    drawn = evaluate(str(weights), *FEW, *photographs, "--out", str(tmp_path / "report"), "--threshold", "0.02")
    stored = evaluate(str(weights), "--data", str(folder), "--size", "128", "--threads", "1", "--threshold", "0.02")
    side, again = drawn["sides"][0], stored["sides"][0]

    assert drawn["pictures"] == 3
    assert side["readings"]["all"]["plates"] > 0
    assert side["plain"]["pictures"] == 3
    assert again["readings"]["outcomes"] == side["readings"]["outcomes"]
    assert again["boxes"]["map50"] == pytest.approx(side["boxes"]["map50"], abs=1e-3)
    assert json.loads((tmp_path / "report" / "report.json").read_text()) == drawn
    assert {path.name for path in (tmp_path / "report").glob("*.png")} == {
        "calibration.png",
        "candidates.png",
        "characters.png",
        "confusion.png",
        "misses.png",
        "precision_recall.png",
        "readings.png",
    }


def test_the_page_of_a_report(weights: Path, tmp_path: Path) -> None:
    """In a browser all pictures are loaded, the console is empty, and a phone needs no horizontal scrolling."""
    evaluate(str(weights), *FEW, "--out", str(tmp_path / "report"))
    for width in (1280, 500):
        opened = open_page(tmp_path / "report" / "report.html", tmp_path, width=width)

        assert opened.title == "Evaluation of random.safetensors"
        assert len(opened.pictures) == len(list((tmp_path / "report").glob("*.png"))) == 5
        assert [each for each in opened.pictures if not each.loaded or not each.alt] == []
        assert opened.console == ()
        assert not opened.too_wide


def board(width: int, left: int, text: str, plate: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """A long plate at y = 100: its entry in the image, and its annotation."""
    box = [left, 100, width, width // 4]
    corners = [[left, 100], [left + width, 100], [left + width, 100 + width // 4], [left, 100 + width // 4]]
    described = {"type": "long", "text": text, "readable": True, "font": "none", "width": width, "angle": 0.0}
    return described, {
        "image_id": 1,
        "category_id": CLASSES.index("l_board") + 1,
        "bbox": box,
        "iscrowd": 0,
        "plate": plate,
        "quad": corners,
    }


def write(folder: Path, image: Image.Image, boards: list[tuple[dict[str, Any], dict[str, Any]]]) -> Path:
    """A data set of one picture."""
    image.save(folder / "it.png")
    described = {
        "id": 1,
        "file_name": "it.png",
        "width": image.width,
        "height": image.height,
        "exposure": {"blur_px": 0, "motion_px": 0},
        "plates": [described for described, _ in boards],
    }
    document = {
        "images": [described],
        "annotations": [annotation for _, annotation in boards],
        "categories": [{"id": number, "name": name} for number, name in enumerate(CLASSES, 1)],
    }
    (folder / "annotations.json").write_text(json.dumps(document))
    return folder


def test_a_chain_its_whole_and_another_chain(tmp_path: Path) -> None:
    """A detector that reads every bright area as the plate 12A 3456."""
    model = for_task(load_model("services.plate_models:bright", size=128), "plates")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 128, 128), dtype=np.uint8)
    for stages in (1, 2):
        build(model, "bright", pixels, BuildOptions(stages=stages), tmp_path / f"of-{stages}")
    image = Image.new("RGB", (1280, 640))
    image.paste("white", (300, 100, 700, 200))
    data = write(tmp_path, image, [board(400, 300, "12A 3456", 0)])
    report = evaluate(str(tmp_path / "of-2"), "--against", str(tmp_path / "of-1"), "--data", str(data))
    names = ["of-2: 2 shards, fp32", "of-2: whole", "of-1: 1 shard, fp32"]

    assert [side["name"] for side in report["sides"]] == names
    assert [side["readings"]["all"]["right"] for side in report["sides"]] == [1, 1, 1]
    assert [each["max_abs_difference"] for each in report["differences"]] == [0, 0]
    assert [(each["equal"], each["same_plates"]) for each in report["differences"]] == [(1, 1), (1, 1)]
    assert report["sides"][0]["boxes"]["classes"][CLASSES.index("l_board")]["ap50"] == pytest.approx(1)


def test_a_bundle_of_another_task(small_bundle: Path) -> None:
    done = run_command("evaluate", "plates", str(small_bundle), *FEW, code=1)

    assert "is a bundle for the task 'classify': name one of `plates`" in done.stderr


@pytest.fixture
def coloured(tmp_path: Path) -> Path:
    """One picture of 2048 pixels, with three plates for tests/services/plate_reader.py; one needs a second pass."""
    boards = [board(600, 100, "12A 3456", 0), board(160, 900, "77E 0012", 1), board(400, 1500, "90B 8888", 2)]
    image = Image.new("RGB", (2048, 1024))
    for colour, (_, annotation) in zip(TEXTS, boards, strict=True):
        left, top, width, height = annotation["bbox"]
        image.paste(colour, (left, top, left + width, top + height))
    boards[2][0]["text"] = "90B 8889"  # which the reader gets wrong
    return write(tmp_path, image, boards)


@pytest.mark.parametrize(("tiling", "right", "missed"), [("once", 1, 1), ("twice", 2, 0)])
def test_a_served_chain_gives_plates_without_boxes(
    coloured: Path, tmp_path: Path, tiling: str, right: int, missed: int
) -> None:
    """One plate is misread, and one is too small for the first pass: 160 pixels of 2048 are 40 of 512."""
    log = tmp_path / "log"
    with running([sys.executable, str(ROOT / "tests/services/plate_reader.py")], log):
        wait_until(lambda: b"\n" in log.read_bytes(), "the reader's port")
        url = f"http://127.0.0.1:{int(log.read_bytes().splitlines()[0])}"
        side = evaluate("--url", url, "--data", str(coloured), "--tiling", tiling)["sides"][0]

    assert side["boxes"] is None
    assert {name: count for name, count in side["readings"]["outcomes"].items() if count} == {
        name: count for name, count in (("right", right), ("misread", 1), ("not found", missed)) if count
    }
    assert [each["name"] for each in side["readings"]["by"]["width"]] == ["32–64 px", "96–128 px", "128 px and more"]
    assert (side["passes"] > 1) == (tiling == "twice")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("README.md", "--url", "http://localhost:1"), "name one of the two"),
        (("README.md", *FEW), "README.md is not the folder of a bundle, an exported program (.pt2)"),
        (("README.md", "--data", "docs"), "docs holds no annotations.json"),
        (("README.md", "--plain", "nowhere"), "nowhere is not a folder of pictures"),
        (("README.md", "--out", "README.md/report"), "--out README.md/report cannot be written"),
        (("--url", "http://127.0.0.1:9", *FEW[:-2]), "does not answer"),
        (("--url", "http://127.0.0.1:9", *FEW), "--threads and --program are for models in this process"),
    ],
)
def test_an_error_is_one_line(arguments: tuple[str, ...], message: str) -> None:
    done = run_command("evaluate", "plates", *arguments, code=1)

    assert message in done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("error:")] == done.stderr.splitlines()[-1:]
