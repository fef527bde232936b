"""A classifier's training: which network, on which pictures, and what counts as right."""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shardline.partition.models import Model
from shardline.training.classifier.draw import Altering, Batch, Batches, Opened, Pixels
from shardline.training.folder import learnt_and_held_out
from shardline.wire.errors import ModelError


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Some pictures as they are served, uint8 [n, 3, height, width], and the class of each."""

    pixels: Pixels
    classes: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All that decides the weights, beside the model, the code, fit.Settings and the number of threads.

    Raises:
        ModelError: a number that makes no training.
    """

    seed: int = 0
    epochs: int = 150
    batch: int = 32
    held_out: float = 0.1  # share of the pictures that scores are taken from
    smoothing: float = 0.1  # of labels: what the other classes get together
    balance: float = 1.0  # 1: each class counts the same, 0: each picture does
    crop: float = 0.3
    flip: bool = True
    turn: float = 10.0  # degrees
    jitter: float = 0.3
    mix: float = 0.5

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 2:
            raise ModelError(f"--epochs {self.epochs} of --batch {self.batch}: allowed are 1 and 2 or more")
        for name in ("held_out", "smoothing", "balance", "crop", "jitter", "mix"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise ModelError(f"--{name.replace('_', '-')} {value:g}: allowed are shares from 0 to 1")
        if not self.crop or not 0 <= self.turn <= 180:
            raise ModelError(
                f"--crop {self.crop:g} --turn {self.turn:g}: allowed are more than 0, and 0 to 180 degrees"
            )


class ClassifierCourse:
    """A fit.Course.

    Args:
        model: what is trained, with its first weights; it says how pictures are served.
        folder: the pictures, as shardline.training.folder reads them.
        opened: as the classifier's pictures are opened when it is served.
        shown: the pictures that scores are taken from.
        muon: whether convolutions learn by Muon; weights that are good already are not to be turned that far.
    """

    def __init__(
        self, recipe: Recipe, model: Model, folder: Path, opened: Opened, shown: Sequence[Shown], *, muon: bool
    ) -> None:
        self._recipe, self._model, self._shown, self._muon = recipe, model, shown, muon
        self._learnt, _ = learnt_and_held_out(folder, recipe.held_out, recipe.seed)
        self.steps = max(1, recipe.epochs * len(self._learnt.files) // recipe.batch)
        self.draw = Batches(
            folder=folder,
            held_out=recipe.held_out,
            seed=recipe.seed,
            size=recipe.batch,
            spec=model.picture,
            altering=Altering(
                crop=recipe.crop, flip=recipe.flip, turn=recipe.turn, jitter=recipe.jitter, mix=recipe.mix
            ),
            opened=opened,
        )

    def pictures(self, step: int) -> int:
        return step * self._recipe.batch

    def model(self) -> nn.Module:
        return copy.deepcopy(self._model.module)

    def matrices(self, model: nn.Module) -> list[nn.Parameter]:
        """All convolutions but the first, which looks at pixels: the last, which answers, is a linear layer."""
        if not self._muon:
            return []
        convolutions = [each for each in model.modules() if isinstance(each, nn.Conv2d) and each.groups == 1]
        taken = {id(each.weight) for each in convolutions[1:]}
        return [each for each in model.parameters() if id(each) in taken]

    def losses(self, model: nn.Module, batch: Batch, device: torch.device) -> dict[str, Tensor]:
        logits = model(normalised(batch.pixels, self._model, device))
        sides = ((batch.classes, batch.share), (batch.others, 1 - batch.share))
        return {"classes": torch.stack([share * self._loss(logits, each) for each, share in sides if share]).sum()}

    def scores(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Of the pictures that are held out: `score`, the share that is told right; the mean of that over the classes;
        and the mean loss without smoothing.
        """
        return measured(model, self._model, self._shown, device)

    def _loss(self, logits: Tensor, classes: NDArray[np.int64]) -> Tensor:
        right = torch.from_numpy(classes).to(logits.device)
        each = nn.functional.cross_entropy(logits, right, reduction="none", label_smoothing=self._recipe.smoothing)
        return (each * self._weights.to(logits.device)[right]).mean()

    @cached_property
    def _weights(self) -> Tensor:
        """float32 [classes]: what a picture of each class counts; 1 in the mean over all pictures."""
        counts = torch.tensor(self._learnt.counts, dtype=torch.float32)
        weights = counts.clamp(min=1) ** -self._recipe.balance
        return weights * counts.sum() / (weights * counts).sum()


def measured(module: nn.Module, model: Model, shown: Iterable[Shown], device: torch.device) -> dict[str, float]:
    """How well `module`, in evaluation mode, tells these pictures; `model` says how they are normalised."""
    logits: list[Tensor] = []
    classes: list[int] = []
    with torch.inference_mode():
        for some in shown:
            logits.append(module(normalised(some.pixels.transpose(0, 2, 3, 1), model, device)).float().cpu())
            classes += some.classes
    found, right = torch.cat(logits), torch.tensor(classes)
    hits = found.argmax(1) == right
    recalls = [float(hits[right == each].float().mean()) for each in sorted(set(classes))]
    return {
        "score": float(hits.float().mean()),
        "recall": sum(recalls) / len(recalls),
        "loss": float(nn.functional.cross_entropy(found, right)),
    }


def as_written(module: nn.Module) -> nn.Module:
    """The same with its weights rounded to two bytes a number, as shardline.training.weights writes them."""
    return copy.deepcopy(module).half().float()


def normalised(pixels: Pixels, model: Model, device: torch.device) -> Tensor:
    """uint8 [batch, height, width, 3] -> float32 [batch, 3, height, width] in [0, 1] normalised."""
    channels_last = torch.from_numpy(np.ascontiguousarray(pixels)).to(device).permute(0, 3, 1, 2)
    mean, std = (torch.tensor(each, device=device).view(1, 3, 1, 1) for each in (model.mean, model.std))
    return (channels_last.to(torch.float32) / 255 - mean) / std
