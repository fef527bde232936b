"""Training of the license plate detector, or of its reader of whole plates alone: `shardline train plates`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shardline.partition.state import read_state
from shardline.training.detector.task import DetectorRecipe, DetectorTrainingTask, TextReaderTrainingTask
from shardline.training.folder import picture_files
from shardline.training.optim import TrainingSettings
from shardline.training.run import TrainingOptions, run_training, training_record
from shardline.training.samples import sample_files
from shardline.training.weights import shipped_plates, write_weights
from shardline.wire.errors import UsageError

NAME = "plates"


def train_plates(recipe: Mapping[str, Any], options: TrainingOptions) -> Path:
    """Train; return the path of the weights.

    Raises:
        UsageError, DatasetError, ModelError: an option, the photographs or the weights to begin with.
        TrainingStopped, TrainingError: as `fit`.
    """
    background = recipe["background"]
    files = sample_files() if background is None else picture_files(Path(background))
    task = _task(files, recipe, options.resume)
    settings = TrainingSettings(rate=recipe["rate"], patience=recipe["patience"])
    result, device = run_training(task, settings, recipe, options)
    options.report("writing the weights")
    detector, more = task.finished(result.model)
    record = training_record(NAME, recipe, result, options.folder, device)
    return write_weights(options.folder, NAME, detector, record | {"pictures": task.pictures(result.step)} | more)


def _task(
    files: Sequence[Path], recipe: Mapping[str, Any], resume: bool
) -> DetectorTrainingTask | TextReaderTrainingTask:
    chosen = DetectorRecipe(seed=recipe["seed"], pictures=recipe["pictures"], side=recipe["side"])
    named, only = recipe["weights"], recipe["only"]
    if only and named is None:
        raise UsageError(f"--only {only} needs --weights: a detector whose other parts stay, e.g. --weights plates")
    if named is None or (resume and not only):
        return DetectorTrainingTask(chosen, files)
    weights = read_state(shipped_plates() if named == "plates" else Path(named))
    return TextReaderTrainingTask(chosen, files, weights) if only else DetectorTrainingTask(chosen, files, weights)
