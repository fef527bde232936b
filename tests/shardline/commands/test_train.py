"""`shardline train`: a training that is stopped says how it is resumed, and every mistake is one line."""

import sys
from pathlib import Path

import pytest
from services.cli import run_command
from services.drawn_shapes import draw_shapes
from services.processes import running, stop, wait_until
from services.tiny_digits import write_mnist

from shardline.training.checkpoint import LAST, load_checkpoint

TINY = ("--pictures", "240", "--side", "128", "--seed", "4", "--threads", "1")


def plates(folder: Path, *more: str) -> list[str]:
    return ["train", "plates", "--out", str(folder), *more]


def classifier(folder: Path, *more: str) -> list[str]:
    return ["train", "classifier", "--out", str(folder), *more]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_shapes(tmp_path_factory.mktemp("shapes") / "data", train=10, test=1)


@pytest.mark.slow
def test_told_to_stop_it_saves_and_says_how_to_go_on(tmp_path: Path) -> None:
    folder = tmp_path / "plates"
    command = [sys.executable, "-m", "shardline", *plates(folder, *TINY, "--save-every", "60")]
    with running(command, tmp_path / "log") as process:
        wait_until((folder / LAST).exists, "the first checkpoint")
        code = stop(process)
    last = (tmp_path / "log").read_text().strip().splitlines()[-1]

    assert code == 143
    assert last == f"stopped, the checkpoint is saved; to resume: shardline train plates --out {folder} --resume"
    assert load_checkpoint(folder / LAST).step < 60


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--resume",), "leave --resume out"),
        (("--side", "250"), "--side 250: allowed are multiples of 128"),
        (("--weights", "no.safetensors"), "no.safetensors does not exist"),
        (("--only", "texts"), "--only texts needs --weights"),
        (("--only", "texts", "--weights", "plates", "--pictures", "9"), "--pictures 9: allowed are 16 or more"),
        (("--device", "tpu"), "--device 'tpu': allowed are cpu"),
        (("--background", "nowhere"), "nowhere is not a folder of pictures"),
    ],
)
def test_a_mistake_about_plates_is_one_line(options: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = run_command(*plates(tmp_path / "new", *options), code=1)

    assert said in done.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "--data is missing: name a folder with train/CLASS/*.jpg or CLASS/*.jpg, or digits"),
        (("--data", "{data}", "--device", "tpu"), "--device 'tpu': allowed are cpu"),
        (("--data", "{data}", "--weights", "none.safetensors"), "--weights none.safetensors does not exist"),
    ],
)
def test_a_mistake_about_a_classifier_is_one_line(
    options: tuple[str, ...], said: str, data: Path, tmp_path: Path
) -> None:
    filled = [option.format(data=data) for option in options]
    done = run_command(*classifier(tmp_path / "new", *filled), code=1)

    assert said in done.stderr
    assert not (tmp_path / "new").exists()


def test_a_resumed_training_keeps_its_recipe(tmp_path: Path) -> None:
    mnist = str(write_mnist(tmp_path / "mnist"))
    folder = str(tmp_path / "digits")
    tiny = ("--pictures", "128", "--batch", "64", "--threads", "1", "--workers", "0")
    done = run_command("train", "embedding", "--out", folder, "--data", mnist, *tiny)
    assert f"to serve it: shardline build embedding --weights {done.stdout.strip()}" in done.stderr

    resumed = ("train", "embedding", "--out", folder, "--data", mnist, "--resume")
    refused = run_command(*resumed, "--pictures", "900", code=1)
    again = run_command("train", "embedding", "--out", folder, "--data", mnist, *tiny, code=1)

    assert "you gave --pictures 900, and it began with 128: leave it out" in refused.stderr
    assert "holds a training already: continue it with --resume" in again.stderr
