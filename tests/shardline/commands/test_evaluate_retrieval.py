"""`shardline evaluate retrieval`: a chain, its whole and the chain served, the same metrics to the last digit."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from e2e.conftest import up
from services.cli import run_command
from services.retrieval import build_retrieval, write_pictures

pytestmark = pytest.mark.slow

ASKED = ("--k", "4", "--nprobe", "1")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of noise in two classes, whose neighbours are right by chance."""
    folder = tmp_path_factory.mktemp("data") / "noise"
    write_pictures(folder / "train", 200)
    write_pictures(folder / "test", 18, seed=1)
    return folder


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with two stages, without an index."""
    return build_retrieval(tmp_path_factory.mktemp("bundles") / "likeness")


@pytest.fixture(scope="module")
def bundle(bare: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle with an index of five lists."""
    folder = shutil.copytree(bare, tmp_path_factory.mktemp("indexed") / "likeness")
    run_command("index", "build", "--bundle", str(folder), "--data", str(data), "--kind", "ivf")
    return folder


def evaluate(*arguments: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(run_command("evaluate", "retrieval", *arguments, "--json").stdout)
    return report


def figures(side: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in side.items() if name not in ("name", "recall")}


def test_a_served_chain_has_the_metrics_of_the_one_in_process(bundle: Path, data: Path, tmp_path: Path) -> None:
    with up(bundle, tmp_path) as chain:
        served = evaluate("--url", chain.url, "--against", str(bundle), "--data", str(data), *ASKED)
    here = evaluate(str(bundle), "--data", str(data), *ASKED, "--out", str(tmp_path / "report"))
    first = here["sides"][0]

    assert served["pictures"] == here["pictures"] == first["top1"]["pictures"] == 18
    assert (here["labels"], here["k"]) == (["even", "odd"], 4)
    assert [side["name"] for side in here["sides"]] == ["likeness: 2 shards, fp32", "likeness: whole"]
    assert [figures(side) == figures(first) for side in (*served["sides"], *here["sides"])] == [True] * 4
    for difference in (*served["differences"], *here["differences"]):
        assert (difference["equal"], difference["max_abs_difference"], difference["same_class"]) == (18, 0, 18)
    assert [side["recall"] for side in served["sides"]] == [None, first["recall"]]
    assert first["recall"]["neighbours"] == 72
    assert 0 < first["recall"]["found"] < 72
    assert json.loads((tmp_path / "report" / "report.json").read_text()) == here
    assert "recall@4" in (tmp_path / "report" / "report.html").read_text()


def test_a_search_of_all_lists_has_full_recall(bundle: Path, data: Path) -> None:
    shown = run_command(
        "evaluate", "retrieval", str(bundle), "--data", str(data / "train"), "--count", "6", "--k", "1", "--nprobe", "5"
    ).stdout

    for text in ("6 pictures of 2 classes", "top-1 (95 %)", "recall@1 (95 %)", "100.0 %"):
        assert text in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "DATA"), "name one of the two: a BUNDLE, or --url"),
        (("README.md", "--data", "DATA"), "README.md is not the folder of a bundle"),
        (("CLASSIFIER", "--data", "DATA"), "is a bundle for the task 'classify': name one of `retrieve`"),
        (("BARE", "--data", "DATA"), "has no index: build one by `shardline index build"),
        (("BUNDLE", "--data", "DATA", "--nprobe", "6"), "parameter nprobe is '6'; allowed: a whole number from 1 to 5"),
        (("BUNDLE", "--data", "DATA", "--ef-search", "6"), "index, which is ivf and takes nprobe"),
        (("BUNDLE", "--data", "OTHERS"), "folder 'yak' does not match any label of the index"),
    ],
)
def test_an_error_is_one_line(
    arguments: tuple[str, ...], message: str, bundle: Path, bare: Path, small_bundle: Path, data: Path, tmp_path: Path
) -> None:
    write_pictures(tmp_path / "others", 2)
    (tmp_path / "others" / "odd").rename(tmp_path / "others" / "yak")
    places = {
        "BUNDLE": bundle, "BARE": bare, "CLASSIFIER": small_bundle, "DATA": data, "OTHERS": tmp_path / "others"
    }  # fmt: skip
    done = run_command("evaluate", "retrieval", *(str(places.get(each, each)) for each in arguments), code=1)

    assert message in done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("error:")] == done.stderr.splitlines()[-1:]
