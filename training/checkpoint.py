"""Where a training stands, in one file: written at once or not at all, read without running what is in it.

step          batches done; what the next one holds follows from its number, so this is the data's position too
model         the weights as they are trained, and normalisation's running statistics
average       the averaged ones, which are what a training is for
optimisers    AdamW's moments and Muon's; the schedule is a function of `step` alone
random        torch's generators: the CPU's, and each GPU's
best, since   the best score yet, and how many scores came after it
seconds       spent on all this
"""

import io
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from shardline.training.weights import write_whole
from shardline.wire.errors import ModelError

LAST, BEST = "last.pt", "best.pt"
_FORMAT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
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
    """torch's generators as they stand."""
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []}


def set_random_states(states: dict[str, Any]) -> None:
    """Put torch's generators back; those of GPUs where there are as many as there were."""
    torch.set_rng_state(states["cpu"])
    if len(states["cuda"]) == (torch.cuda.device_count() if torch.cuda.is_available() else 0) > 0:
        torch.cuda.set_rng_state_all(states["cuda"])


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write the file whole: a process that is killed meanwhile leaves the one that was there.

    Raises:
        ModelError: it cannot be written.
    """
    content = {"format": _FORMAT, **{each.name: getattr(checkpoint, each.name) for each in fields(checkpoint)}}
    with io.BytesIO() as buffer:
        torch.save(content, buffer)
        write_whole(path, buffer.getvalue())


def load(path: Path) -> Checkpoint:
    """
    Raises:
        ModelError: there is no such file, or it is none of ours.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as exc:
        raise ModelError(
            f"there is no {path} to go on from: leave --resume out, or name the training's folder"
        ) from exc
    except Exception as exc:  # torch raises pickle.UnpicklingError, RuntimeError and others for what it refuses
        raise ModelError(f"{path} is damaged, or no checkpoint: remove the folder and train anew") from exc
    names = {each.name for each in fields(Checkpoint)}
    if not isinstance(content, dict) or content.pop("format", None) != _FORMAT or content.keys() != names:
        raise ModelError(f"{path} is no checkpoint of this version: train anew, in another folder")
    return Checkpoint(**content)
