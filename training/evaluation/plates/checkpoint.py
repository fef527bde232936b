"""A training's checkpoint -> the detector that it would become."""

from pathlib import Path

from shardline.partition.program import one_line
from shardline.training.checkpoint import load_checkpoint
from shardline.training.detector.layers import fold_normalisation
from shardline.training.detector.model import PlateDetector
from shardline.wire.errors import ModelError


def from_checkpoint(path: Path) -> PlateDetector:
    """The detector of a training's checkpoint, with its averaged weights.

    Raises:
        ModelError: it is none of ours, or of another model.
    """
    trained = PlateDetector(normed=True)
    try:
        trained.load_state_dict(load_checkpoint(path).average)
    except RuntimeError as exc:
        raise ModelError(f"{path} is a checkpoint of another model: {one_line(exc)}") from exc
    return fold_normalisation(trained, PlateDetector())
