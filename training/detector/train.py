"""Training of the license plate detector, or of its reader of whole plates alone: `shardline train plates`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shardline.partition.state import read_state
from shardline.tasks.plates.grammar import OPTION, PlateGrammar, built_in, parse_grammar
from shardline.training.detector.task import (
    DetectorRecipe,
    DetectorTrainingTask,
    TextReaderTrainingTask,
    first_detector,
)
from shardline.training.detector.transfer import transfer
from shardline.training.folder import find_photographs
from shardline.training.optim import TrainingSettings
from shardline.training.run import TrainingOptions, run_training, training_record
from shardline.training.samples import sample_files
from shardline.training.weights import read_metadata, shipped_plates, write_weights
from shardline.wire.errors import UsageError

NAME = "plates"


def train_plates(recipe: Mapping[str, Any], options: TrainingOptions) -> Path:
    """Train; return the path of the weights.

    Raises:
        UsageError, DatasetError, ModelError: an option, the photographs or the weights to begin with.
        TrainingStopped, TrainingError: as `fit`.
    """
    background = recipe["background"]
    files = sample_files() if background is None else find_photographs(Path(background))
    task = _task(files, recipe, options)
    settings = TrainingSettings(rate=recipe["rate"], patience=recipe["patience"])
    result, device = run_training(task, settings, recipe, options)
    options.report("writing the weights")
    detector, more = task.finished(result.model)
    grammar = detector.grammar
    metadata = {} if grammar.is_built_in else {OPTION: grammar.source}
    record = training_record(NAME, recipe, result, options.folder, device)
    return write_weights(
        options.folder, NAME, detector, record | {"pictures": task.pictures(result.step)} | more, metadata
    )


def _task(
    files: Sequence[Path], recipe: Mapping[str, Any], options: TrainingOptions
) -> DetectorTrainingTask | TextReaderTrainingTask:
    grammar = built_in() if recipe.get("grammar") is None else parse_grammar(recipe["grammar"], "of the training")
    chosen = DetectorRecipe(seed=recipe["seed"], pictures=recipe["pictures"], side=recipe["side"], grammar=grammar)
    named, only = recipe["weights"], recipe["only"]
    if only and named is None:
        raise UsageError(f"--only {only} needs --weights: a detector whose other parts stay, e.g. --weights plates")
    if named is None or (options.resume and not only):
        return DetectorTrainingTask(chosen, files)
    path = shipped_plates() if named == "plates" else Path(named)
    weights, source = read_state(path), _grammar_of(path)
    if source == grammar:
        return TextReaderTrainingTask(chosen, files, weights) if only else DetectorTrainingTask(chosen, files, weights)
    if only:
        raise UsageError(
            f"--only {only}: {named} holds weights for the grammar {source.name}, and this training has the grammar "
            f"{grammar.name}: train the whole detector first, without --only"
        )
    transferred = transfer(weights, source, first_detector(chosen))
    options.report(transferred.report)
    return DetectorTrainingTask(chosen, files, transferred.weights)


def _grammar_of(path: Path) -> PlateGrammar:
    """The grammar in the header of a weights file; without one the built-in grammar."""
    text = read_metadata(path).get(OPTION)
    return built_in() if text is None else parse_grammar(text, f"of {path}")
