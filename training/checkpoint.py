"""Checkpoints: the state of a training in one file, written whole or not at all, and read without running its content.

step          number of batches done; the next batch follows from its number, so this is the position in the data, too
model         the weights as they are trained, and the running statistics of normalisation
average       the averaged weights (EMA), which are the result of a training
optimisers    the moments of AdamW and Muon; the schedule is a function of `step` alone
random        torch's random generators: the CPU's and each GPU's
best, since   the best score so far, and the number of evaluations after it
seconds       time spent on all this
recipe        the options that decide the weights
"""

import io
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from shardline.training.weights import write_whole
from shardline.wire.errors import TrainingError, UsageError

LAST, BEST = "last.pt", "best.pt"
_FORMAT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """State of a training; see the module's docstring."""

    step: int
    model: dict[str, Any]
    average: dict[str, Any]
    optimisers: list[dict[str, Any]]
    random: dict[str, Any]
    best: float
    since: int
    seconds: float
    recipe: dict[str, Any]  # of plain values


def random_states() -> dict[str, Any]:
    """The states of torch's random generators."""
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []}


def set_random_states(states: dict[str, Any]) -> None:
    """Restore torch's random generators; those of GPUs only where there are as many as before."""
    torch.set_rng_state(states["cpu"])
    if len(states["cuda"]) == (torch.cuda.device_count() if torch.cuda.is_available() else 0) > 0:
        torch.cuda.set_rng_state_all(states["cuda"])


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write the file whole: a process that is killed meanwhile leaves the file that was there.

    Raises:
        FileError: it cannot be written.
    """
    content = {"format": _FORMAT, **{field.name: getattr(checkpoint, field.name) for field in fields(checkpoint)}}
    with io.BytesIO() as buffer:
        torch.save(content, buffer)
        write_whole(path, buffer.getvalue())


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        UsageError: there is no such file.
        TrainingError: it is damaged, no checkpoint, or of another version.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as exc:
        raise UsageError(f"there is no {path} to resume: leave --resume out, or name the training's folder") from exc
    except Exception as exc:  # torch raises pickle.UnpicklingError, RuntimeError and others for what it refuses
        raise TrainingError(f"{path} is damaged, or no checkpoint: remove the folder and train again") from exc
    names = {field.name for field in fields(Checkpoint)}
    if not isinstance(content, dict) or content.pop("format", None) != _FORMAT or content.keys() != names:
        raise TrainingError(f"{path} is no checkpoint of this version: train again, in another folder")
    return Checkpoint(**content)
