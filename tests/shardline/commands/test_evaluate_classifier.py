"""`shardline evaluate classifier`: a chain, its whole and the chain served, the same metrics to the last digit."""

import json
from pathlib import Path
from typing import Any

import pytest
from e2e.conftest import up
from services.chromium import open_page
from services.cli import run_command
from services.drawn_shapes import CLASSES, draw_shapes

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes with six pictures each, named by the numbers of the small model's first classes."""
    folder = draw_shapes(tmp_path_factory.mktemp("shapes") / "shapes", train=0, test=6)
    for place, name in enumerate(CLASSES):
        (folder / "test" / name).rename(folder / "test" / str(place))
    return folder


def evaluate(*arguments: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(run_command("evaluate", "classifier", *arguments, "--json").stdout)
    return report


def figures(side: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in side.items() if name != "name"}


def test_a_served_chain_has_the_metrics_of_the_one_in_process(
    small_bundle: Path, other_bundle: Path, pictures: Path, tmp_path: Path
) -> None:
    data = ("--data", str(pictures))
    with up(small_bundle, tmp_path) as chain:
        served = evaluate("--url", chain.url, "--against", str(small_bundle), *data)
    here = evaluate(str(small_bundle), "--against", str(other_bundle), *data, "--out", str(tmp_path / "report"))

    assert served["pictures"] == here["pictures"] == 18
    assert served["labels"] == ["0", "1", "2"]
    assert [side["name"] for side in here["sides"]] == [
        "small: 3 shards, fp32",
        "small: whole",
        "other: 3 shards, fp32",
    ]
    assert [figures(side) == figures(served["sides"][0]) for side in (*served["sides"], *here["sides"])] == [True] * 5
    for difference in (*served["differences"], *here["differences"]):
        assert (difference["equal"], difference["max_abs_difference"], difference["same_class"]) == (18, 0, 18)
    assert_shown(here, tmp_path)


def assert_shown(report: dict[str, Any], folder: Path) -> None:
    """The folder has the printed document, and the page all plots."""
    assert json.loads((folder / "report" / "report.json").read_text()) == report
    assert {path.name for path in (folder / "report").iterdir()} == {
        "report.html", "report.json", "calibration.png", "classes.png", "confusion.png", "curves.png", "mistakes.png",
    }  # fmt: skip
    opened = open_page(folder / "report" / "report.html", folder)
    assert opened.title == "Evaluation of small: 3 shards, fp32"
    assert [each.loaded and bool(each.alt) for each in opened.pictures] == [True] * 5
    assert opened.console == ()


def test_digits_and_an_exported_program(small_bundle: Path) -> None:
    """A network with random weights is right for about a tenth of the digits."""
    report = evaluate(str(small_bundle / "whole.pt2"), "--data", "digits", "--threads", "1")
    [side] = report["sides"]

    assert report["labels"] == list("0123456789")
    assert report["pictures"] == side["top1"]["pictures"] == sum(map(sum, side["confusion"])) == 360
    assert side["top1"]["low"] < side["top1"]["share"] < 0.3


def test_tables(small_bundle: Path, pictures: Path) -> None:
    shown = run_command("evaluate", "classifier", str(small_bundle / "whole.pt2"), "--data", str(pictures)).stdout

    for text in ("18 pictures of 3 classes", "top-1 (95 %)", "F1, mean of classes", "classes, small: whole"):
        assert text in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "docs"), "name one of the two"),
        (("README.md", "--data", "SHAPES"), "README.md is not the folder of a bundle, an exported program (.pt2)"),
        (("BUNDLE", "--data", "nowhere"), "nowhere is not a folder"),
        (("BUNDLE", "--data", "SHAPES"), "folder 'bars' does not match any class of the model"),
        (("BUNDLE", "--data", "SHAPES", "--out", "README.md/report"), "--out README.md/report cannot be written"),
        (("--url", "http://127.0.0.1:9", "--data", "SHAPES"), "does not answer"),
    ],
)
def test_an_error_is_one_line(arguments: tuple[str, ...], message: str, small_bundle: Path, tmp_path: Path) -> None:
    draw_shapes(tmp_path / "shapes", train=0, test=1)
    places = {"BUNDLE": str(small_bundle / "whole.pt2"), "SHAPES": str(tmp_path / "shapes")}
    done = run_command("evaluate", "classifier", *(places.get(each, each) for each in arguments), code=1)

    assert message in done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("error:")] == done.stderr.splitlines()[-1:]
