"""Measured times: taken once, kept for this machine, and measured again when something changed."""

import json
from pathlib import Path

import pytest
import torch

from shardline.partition.capture import capture, random_pixels
from shardline.partition.liveness import Liveness, analyse
from shardline.partition.models import load_model
from shardline.partition.profile import Cache, Profile, profile

CPU = torch.device("cpu")


def pixels(batch: int) -> torch.Tensor:
    return random_pixels(load_model("services.small_models:residual", size=32), batch)


def ask(liveness: Liveness, folder: Path, batch: int = 1, *, fresh: bool = False) -> tuple[Profile, list[str]]:
    lines: list[str] = []
    cache = Cache(folder, lines.append)
    return profile(liveness, pixels(batch), CPU, cache=cache, fresh=fresh, progress=lines.append), lines


@pytest.fixture
def liveness() -> Liveness:
    return analyse(capture(load_model("services.small_models:residual", size=32)))


def test_what_was_measured_is_not_measured_again(liveness: Liveness, tmp_path: Path) -> None:
    first, said = ask(liveness, tmp_path)
    same_model = analyse(capture(load_model("services.small_models:residual", size=32)))
    second, said_then = ask(same_model, tmp_path)

    assert said == ["measuring batch 1 on cpu"]
    assert said_then == [f"batch 1 on cpu was measured at {first.measured_at}; --fresh measures again"]
    assert second == first


@pytest.mark.parametrize("what", ["batch", "threads", "model", "size"])
def test_what_changes_times_is_measured_again(what: str, liveness: Liveness, tmp_path: Path) -> None:
    ask(liveness, tmp_path)
    name, size = ("tuples" if what == "model" else "residual"), (48 if what == "size" else 32)
    other = analyse(capture(load_model(f"services.small_models:{name}", size=size)))
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1 if what == "threads" else threads)
    try:
        images = random_pixels(load_model("services.small_models:residual", size=size), 2 if what == "batch" else 1)
        lines: list[str] = []
        profile(other, images, CPU, cache=Cache(tmp_path), progress=lines.append)
    finally:
        torch.set_num_threads(threads)

    assert lines == [f"measuring batch {len(images)} on cpu"]


def test_other_weights_take_as_long(liveness: Liveness, tmp_path: Path) -> None:
    ask(liveness, tmp_path)
    model = load_model("services.small_models:residual", size=32)
    with torch.no_grad():
        model.module.get_parameter("stem.weight").mul_(2)

    assert "was measured at" in ask(analyse(capture(model)), tmp_path)[1][0]


def test_fresh_measures_again_and_keeps_it(liveness: Liveness, tmp_path: Path) -> None:
    ask(liveness, tmp_path)
    assert ask(liveness, tmp_path, fresh=True)[1] == ["measuring batch 1 on cpu"]
    assert "was measured at" in ask(liveness, tmp_path)[1][0]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"device": "cpu"}', "[" * 100_000, "\udcff"])
def test_a_damaged_profile_is_measured_anew_with_one_line(content: str, liveness: Liveness, tmp_path: Path) -> None:
    ask(liveness, tmp_path)
    (path,) = (tmp_path / "profiles").iterdir()
    path.write_bytes(content.encode(errors="surrogateescape"))

    _, said = ask(liveness, tmp_path)

    assert said == [f"{path} is damaged: measuring again", "measuring batch 1 on cpu"]
    assert json.loads(path.read_text())["batch"] == 1
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_cannot_be_written_to_is_no_obstacle(liveness: Liveness, tmp_path: Path) -> None:
    (tmp_path / "profiles").write_text("in the way")

    measured, said = ask(liveness, tmp_path)

    assert measured.batch == 1
    assert "cannot be written" in said[-1]
