"""Options of every training: folder, resuming, device, processes, checkpoints, curves.

@takes_training_options
def embedding(context: typer.Context, data: ..., *, training: TrainingArguments) -> None:
    recipe = training.recipe(context, {"data": str(data)})
    weights = training.run("embedding", train_embedding, recipe)
"""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shardline.console import err, say
from shardline.options.group import option, takes_options
from shardline.progress import TrainingBar
from shardline.wire.errors import UsageError

if TYPE_CHECKING:
    from shardline.training.run import TrainingOptions

_PANEL = "Training"

Train = Callable[[Mapping[str, Any], "TrainingOptions"], Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingArguments:
    """The values of the options; see `_training_options`."""

    folder: Path
    resume: bool
    device: str | None
    threads: int | None
    workers: int | None
    save_every_min: float
    tensorboard: bool

    def recipe(self, context: typer.Context, given: dict[str, Any]) -> dict[str, Any]:
        """The options that decide the weights: those given or, resumed, those that the training began with.

        Args:
            given: the values of these options by their parameters' names.

        Raises:
            UsageError: nothing to resume, or an option that was typed differs from what the training began with.
        """
        if not self.resume:
            return given
        say("loading torch")
        from shardline.training.run import as_option, resumed_recipe

        recipe = resumed_recipe(self.folder)
        typed = [name for name in given if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"]
        different = [
            f"{as_option(name)} {given[name]}, and it began with {recipe.get(name)}"
            for name in typed
            if recipe.get(name) != given[name]
        ]
        if different:
            raise UsageError(f"{self.folder} is resumed as it began; you gave {'; '.join(different)}: leave it out")
        return recipe

    def run(self, name: str, train: Train, recipe: Mapping[str, Any]) -> Path:
        """Train with a progress bar; stopped by a signal, print how to resume and exit with 128 and its number."""
        from shardline.training.fit import TrainingStopped
        from shardline.training.run import TrainingOptions

        try:
            with TrainingBar() as bar:
                options = TrainingOptions(
                    folder=self.folder,
                    resume=self.resume,
                    device=self.device,
                    threads=self.threads,
                    workers=self.workers,
                    save_every_min=self.save_every_min,
                    tensorboard=self.tensorboard,
                    callbacks=[bar],
                    report=say,
                )
                return train(recipe, options)
        except TrainingStopped as stopped:
            number = stopped.number
        out = shlex.quote(str(self.folder))
        err.print(f"stopped, the checkpoint is saved; to resume: shardline train {name} --out {out} --resume")
        raise typer.Exit(128 + number)


def _training_options(
    out_folder: Annotated[
        Path, option("--out", help="Folder of the training: checkpoints, then the weights", panel=_PANEL)
    ],
    resume: Annotated[
        bool, option("--resume", help="Resume the training from the folder's last checkpoint", panel=_PANEL)
    ] = False,
    device: Annotated[
        str | None, option(help="Device to train on: cpu or cuda (default: a GPU if there is one)", panel=_PANEL)
    ] = None,
    threads: Annotated[
        int | None, option(min=1, help="Number of torch threads (default: the CPUs of this process)", panel=_PANEL)
    ] = None,
    workers: Annotated[
        int | None,
        option(min=0, help="Processes that prefetch batches (default: 1; with a GPU, the CPUs minus 1)", panel=_PANEL),
    ] = None,
    save_every: Annotated[float, option(min=0, help="Minutes between two checkpoints", panel=_PANEL)] = 5,
    tensorboard: Annotated[
        bool, option("--tensorboard", help="Also write curves for TensorBoard", panel=_PANEL)
    ] = False,
) -> TrainingArguments:
    return TrainingArguments(
        folder=out_folder,
        resume=resume,
        device=device,
        threads=threads,
        workers=workers,
        save_every_min=save_every,
        tensorboard=tensorboard,
    )


takes_training_options = takes_options("training", _training_options)
