"""The command line: what others script against, and one line for every mistake."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from e2e.conftest import shardline
from services.processes import ROOT

from shardline.partition.verify import Chain
from shardline.predictors.picture import pixel_batch
from shardline.storage.bundle_folder import open_bundle
from shardline.tasks.registry import task_reply
from shardline.tasks.request import Request

pytestmark = pytest.mark.slow

SMALL = ("services.small_models:residual", "--size", "32")


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's package: importable from where the command runs."""
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'tests'}")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    shardline("samples", str(folder))
    return folder


def test_samples_are_photographs(photos: Path) -> None:
    assert {"chelsea.png", "coffee.png", "astronaut.png", "rocket.jpg"} <= {path.name for path in photos.iterdir()}


def test_build_verify_and_render(tmp_path: Path, photos: Path) -> None:
    bundle = tmp_path / "My_Net"
    built = shardline("build", *SMALL, "--cuts", "one,two", "--out", str(bundle), "--pictures", str(photos))
    verified = shardline("verify", str(bundle), "--images", str(photos), "--json")
    rendered = shardline("render", str(bundle), "--storage", "gs://bucket/models", "--out", str(tmp_path / "out"))
    report = json.loads(verified.stdout)

    assert open_bundle(bundle).name == "my-net"
    assert open_bundle(bundle).digest in built.stdout
    assert (report["pictures"], report["equal"]) == (12, 12)
    assert (report["max_abs_difference"], report["top1_agreement"]) == (0.0, 1.0)
    assert [cut["name"] for cut in report["cuts"]] == ["one", "two", "output"]
    text = Path(rendered.stdout.strip()).read_text()
    assert "gs://bucket/models/stages/2" in text
    assert "shardline render" in text


def test_a_bundle_holds_a_picture_and_what_the_whole_model_replies_to_it(tmp_path: Path, photos: Path) -> None:
    bundle = tmp_path / "net"
    shardline("build", *SMALL, "--stages", "2", "--out", str(bundle), "--pictures", str(photos))
    described = open_bundle(bundle)
    pixels = pixel_batch([(bundle / "golden.png").read_bytes()], described.picture, described.limits)
    with threads(described.threads):
        outputs = Chain(bundle).run_stages(pixels)[-1]

    reply = json.loads((bundle / "golden.json").read_text())

    assert {"golden.png", "golden.json"} <= described.files.keys()
    assert reply == {"predictions": task_reply("classify")(Request(outputs=outputs, labels=described.task.labels))}


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def test_plan_as_json(photos: Path) -> None:
    document = json.loads(shardline("plan", *SMALL, "--stages", "2", "--pictures", str(photos), "--json").stdout)

    assert [stage["stage"] for stage in document["stages"]] == [0, 1]
    assert document["stages"][0]["output_bytes"] > 0
    assert document["stages"][1]["cut"] is None
    assert document["slowest_ms"] > 0


def test_verify_without_json_says_split_equals_whole(small_bundle: Path, photos: Path) -> None:
    text = shardline("verify", str(small_bundle), "--images", str(photos)).stdout

    assert text.startswith("split == whole: 12 of 12 pictures")
    assert "max abs difference 0," in text


def test_an_altered_bundle_is_refused(small_bundle: Path, tmp_path: Path, photos: Path) -> None:
    shutil.copytree(small_bundle, tmp_path / "bundle")
    (tmp_path / "bundle" / "stages" / "1" / "shard.pt2").write_bytes(b"PK")

    result = shardline("verify", str(tmp_path / "bundle"), "--images", str(photos), code=1)

    assert "stages/1/shard.pt2 has 2 bytes" in result.stderr


def test_labels_mean_and_std_of_one_s_own(tmp_path: Path, photos: Path) -> None:
    (tmp_path / "labels.txt").write_text("".join(f"kind {index}\n" for index in range(10)))
    options = ("--labels", str(tmp_path / "labels.txt"), "--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25")
    shardline("build", *SMALL, *options, "--stages", "1", "--out", str(tmp_path / "net"), "--pictures", str(photos))

    assert open_bundle(tmp_path / "net").task.labels[9] == "kind 9"
    assert shardline("verify", str(tmp_path / "net"), "--images", str(photos)).stdout.startswith("split == whole")


MISTAKES: dict[str, tuple[list[str], int, str]] = {
    "no such model": (
        ["plan", "torchvision:resnet51", "--weights", "random:0"],
        1,
        "no classification model 'resnet51'",
    ),
    "no kind of model": (["plan", "resnet50"], 1, "names no model; allowed are plates, embedding, torchvision:NAME"),
    "no such package": (["plan", "no_such_package:make"], 1, "No module named 'no_such_package'"),
    "no such factory": (["plan", "services.small_models:nothing"], 1, "nothing"),
    "not a module": (["plan", "services.small_models:not_a_module"], 1, "gave a int"),
    "no seed": (["plan", "torchvision:resnet18", "--weights", "random"], 1, "random:SEED"),
    "no such cut": (["plan", *SMALL, "--cuts", "thre"], 1, "near it are"),
    "too many stages": (["plan", *SMALL, "--stages", "500"], 1, "need 499 cuts"),
    "no stage": (["plan", *SMALL, "--stages", "0"], 2, "--stages"),
    "a limit too small": (["plan", *SMALL, "--limit", "1Ki"], 1, "take a smaller --size"),
    "no limit": (["plan", *SMALL, "--limit", "much"], 1, "is not a size: write it as Kubernetes does, e.g. 6Mi"),
    "a broken model": (["plan", "services.small_models:broken", "--size", "32"], 1, "this model never runs"),
    "two channels": (["build", *SMALL, "--mean", "0.5,0.5", "--out", "x"], 1, "write three numbers"),
    "a std of 0": (["build", *SMALL, "--std", "0,1,1", "--out", "x"], 1, "a standard deviation above 0"),
    "no labels": (["build", *SMALL, "--labels", "Makefile2", "--out", "x"], 1, "one class name per line"),
    "too many labels": (["build", *SMALL, "--labels", "Makefile", "--out", "x"], 1, "labels for 10 classes"),
    "no bundle": (["verify", "tests"], 1, "is it a bundle?"),
    "no manifests": (["up", "no-such-folder"], 1, "no-such-folder"),
    "nothing to render": (["render", "tests", "--out", "x"], 1, "is it a bundle?"),
    "no picture": (["request", "no-such-picture.jpg"], 2, "no-such-picture.jpg"),
    "no server": (["request", "README.md", "--url", "http://127.0.0.1:9"], 3, "does not answer"),
    "an unknown command": (["serve"], 2, "serve"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_clear_line(case: str) -> None:
    arguments, code, message = MISTAKES[case]

    result = shardline(*arguments, code=code)

    assert message in " ".join(result.stderr.split())


@pytest.mark.parametrize("name", ["build", "plan", "verify", "render", "up", "request", "samples"])
def test_each_command_has_help_with_an_example(name: str) -> None:
    text = shardline(name, "--help").stdout

    assert "Example:" in text or "example" in text
    assert f"shardline {name}" in text or name == "request"
