"""Options of a training: what reaches the training function, and a training that is stopped by a signal."""

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from shardline.options.train import TrainingArguments, takes_training_options
from shardline.training.fit import TrainingStopped
from shardline.training.run import TrainingOptions


def arguments(folder: Path) -> TrainingArguments:
    return TrainingArguments(
        folder=folder, resume=False, device="cpu", threads=2, workers=0, save_every_min=3, tensorboard=True
    )


def test_the_training_function_gets_the_options(tmp_path: Path) -> None:
    found: list[tuple[Mapping[str, Any], TrainingOptions]] = []

    def train(recipe: Mapping[str, Any], options: TrainingOptions) -> Path:
        found.append((recipe, options))
        return tmp_path / "weights"

    path = arguments(tmp_path).run("small", train, {"seed": 3})

    ((recipe, options),) = found
    assert path == tmp_path / "weights"
    assert recipe == {"seed": 3}
    assert (options.folder, options.device, options.threads, options.workers) == (tmp_path, "cpu", 2, 0)
    assert (options.save_every_min, options.tensorboard, options.resume) == (3, True, False)
    assert len(options.callbacks) == 1


def test_a_stopped_training_says_how_it_is_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def train(recipe: Mapping[str, Any], options: TrainingOptions) -> Path:  # noqa: ARG001  # as train_plates
        raise TrainingStopped(signal.SIGTERM)

    with pytest.raises(typer.Exit) as caught:
        arguments(tmp_path).run("small", train, {})

    assert caught.value.exit_code == 128 + signal.SIGTERM
    assert f"to resume: shardline train small --out {tmp_path} --resume" in capsys.readouterr().err


def test_a_command_gets_one_value_in_place_of_all_options() -> None:
    app = typer.Typer()

    @app.command()
    @takes_training_options
    def small(context: typer.Context, seed: int = 1, *, training: TrainingArguments) -> None:
        print(training.recipe(context, {"seed": seed}), training.folder, training.save_every_min)

    done = CliRunner().invoke(app, ["--out", "here", "--seed", "4", "--save-every", "2"])

    assert done.stdout.strip() == "{'seed': 4} here 2.0"
    assert CliRunner().invoke(app, []).exit_code == 2
