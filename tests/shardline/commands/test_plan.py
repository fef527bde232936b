"""`shardline plan`: what it prints, what it draws, and what it keeps for the next time."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from services.cli import run_command
from services.processes import ROOT

import shardline
from shardline.api import CapturedModel, ModelPlan
from shardline.commands.bundle import check_plot
from shardline.options.plan import plan_arguments
from shardline.partition.capture import random_pixels
from shardline.partition.models import load_model
from shardline.wire.errors import ShardlineError, UsageError

SMALL = ("plan", "services.small_models:residual", "--size", "32", "--stages", "2")
HOP = ("--hop", "0.4,3")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The user's package can be imported from where the command runs, and nothing was measured before."""
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'tests'}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.slow
def test_explained_drawn_and_kept(tmp_path: Path) -> None:
    picture = tmp_path / "plan.png"
    first = run_command(*SMALL, *HOP, "--batch", "2", "--explain", "--plot", str(picture))
    second = run_command(*SMALL, *HOP, "--batch", "2", "--objective", "latency", "--json")
    document = json.loads(second.stdout)

    assert "measuring batch 2 on cpu" in first.stderr
    assert "plans are possible" in first.stdout
    assert "taken" in first.stdout
    assert "overhead of a stage: 0.4 ms and 3.0 ms per MiB (given)" in first.stdout
    with Image.open(picture) as drawn:
        assert drawn.format == "PNG"
        assert drawn.width >= 1000
        assert len(drawn.convert("RGB").resize((50, 50)).getcolors() or []) > 5
    assert "measuring" not in second.stderr
    assert "batch 2 on cpu was measured at" in second.stderr
    assert document["objective"] == "latency"
    assert document["hop"] == {"fixed_ms": 0.4, "per_mebibyte_ms": 3.0, "source": "given"}
    assert document["latency_ms"] == pytest.approx(sum(stage["single_ms"] for stage in document["stages"]), abs=0.01)
    assert document["explain"]["plans"] == document["explain"]["within_limits"] == 17
    (taken,) = [each for each in document["explain"]["weighed"] if each["taken"]]
    assert taken["cuts"] == [document["stages"][0]["cut"]]
    assert taken["largest_memory_bytes"] == max(stage["memory_bytes"] for stage in document["stages"])


@pytest.mark.slow
def test_a_fast_second_machine_gets_more_of_the_model() -> None:
    alike, faster = (
        json.loads(run_command(*SMALL, *HOP, "--json", *more).stdout)["stages"] for more in ((), ("--speeds", "1,50"))
    )

    assert [stage["speed"] for stage in faster] == [1.0, 50.0]
    assert faster[0]["position"] < alike[0]["position"]


def plan_small(**options: Any) -> ModelPlan:
    """Plan a small model as the command does with these options."""
    model = load_model("services.small_models:residual", size=32)
    captured = CapturedModel(model=model, pixels=random_pixels(model, 1).numpy())
    given: dict[str, Any] = {"stages": 2, "hop": "0.4,3"} | options
    return shardline.plan(captured, **plan_arguments(**given))


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "speeds that are none": ({"speeds": "1,fast"}, "--speeds 'fast': write numbers above 0"),
    "a speed of nothing": ({"speeds": "0"}, "--speeds '0': write numbers above 0"),
    "half a hop": ({"hop": "3"}, "--hop '3': write two numbers"),
    "a hop below nothing": ({"hop": "-1,3"}, "--hop '-1': write numbers from 0"),
    "memory that is none": (
        {"memory_per_stage": "little"},
        "--memory-per-stage 'little' is not a size: write it as",
    ),
    "no kind of device": ({"device": "tpu"}, "device 'tpu': allowed are auto, cpu, cuda"),
    "too many devices": (
        {"device": "cpu,cpu,cpu"},
        "--device has 3 values for 2 stages: give one for all stages, or one per",
    ),
    "too many speeds": ({"speeds": "1,2,3,4"}, "--speeds has 4 values for 2 stages"),
    "too little memory": (
        {"memory_per_stage": "1Ki"},
        "no 2-stage plan fits 0.0 MiB per stage: the best split still needs",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(mistake: str) -> None:
    options, text = MISTAKES[mistake]

    with pytest.raises(ShardlineError, match=re.escape(text)) as caught:
        plan_small(**options)

    assert "\n" not in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_one_line() -> None:
    with pytest.raises(UsageError, match="device cuda"):
        plan_small(device="cpu,cuda")


@pytest.mark.parametrize(
    ("path", "text"),
    [("plan.jpeg", "allowed are files that end with .png, .svg, .pdf"), ("nowhere/plan.png", "there is no folder")],
)
def test_a_picture_that_cannot_be_drawn_is_refused(path: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=text):
        check_plot(tmp_path / path)


def test_plan_as_json(photos: Path) -> None:
    document = json.loads(run_command(*SMALL, *HOP, "--pictures", str(photos), "--json").stdout)

    assert [stage["stage"] for stage in document["stages"]] == [0, 1]
    assert document["stages"][0]["output_bytes"] > 0
    assert document["stages"][1]["cut"] is None
    assert document["slowest_ms"] > 0
