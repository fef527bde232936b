"""Training task of a classifier: network, augmented pictures, weighted cross-entropy, and validation scores."""

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
from shardline.training.classifier.augmentation import Augmentation, ClassifierBatch, ClassifierBatches, OpenPicture
from shardline.training.folder import training_and_validation
from shardline.wire.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationBatch:
    """Pictures as they are served, uint8 [n, 3, height, width], and the class of each."""

    pixels: NDArray[np.uint8]
    classes: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierRecipe:
    """Hyperparameters of a classifier's training, in addition to TrainingSettings.

    Together with the model, the code and the number of threads they decide the weights.

    Raises:
        UsageError: a number is out of range.
    """

    seed: int = 0
    epochs: int = 150
    batch: int = 32
    held_out: float = 0.1  # share of the training pictures that is used for validation
    smoothing: float = 0.1  # label smoothing: what all other classes get together
    balance: float = 1.0  # 1: each class counts the same, 0: each picture does
    crop: float = 0.3
    flip: bool = True
    turn: float = 10.0  # degrees
    jitter: float = 0.3
    mix: float = 0.5

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 2:
            raise UsageError(f"--epochs {self.epochs} of --batch {self.batch}: allowed are 1 and 2 or more")
        for name in ("held_out", "smoothing", "balance", "crop", "jitter", "mix"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise UsageError(f"--{name.replace('_', '-')} {value:g}: allowed are shares from 0 to 1")
        if not self.crop or not 0 <= self.turn <= 180:
            raise UsageError(
                f"--crop {self.crop:g} --turn {self.turn:g}: allowed are more than 0, and 0 to 180 degrees"
            )


class ClassifierTrainingTask:
    """The TrainingTask of a classifier.

    Args:
        model: the model with its first weights; it also says how pictures are served.
        folder: the pictures, as shardline.training.folder reads them.
        open_picture: decodes a picture as the server does.
        validation: the pictures that scores are taken from.
        muon: whether Muon trains the convolutions; it would change pretrained weights too much.
    """

    def __init__(
        self,
        recipe: ClassifierRecipe,
        model: Model,
        folder: Path,
        open_picture: OpenPicture,
        validation: Sequence[ValidationBatch],
        *,
        muon: bool,
    ) -> None:
        self._recipe, self._model, self._validation, self._muon = recipe, model, validation, muon
        self._training, _ = training_and_validation(folder, recipe.held_out, recipe.seed)
        self.steps = max(1, recipe.epochs * len(self._training.files) // recipe.batch)
        self.draw = ClassifierBatches(
            folder=folder,
            held_out=recipe.held_out,
            seed=recipe.seed,
            size=recipe.batch,
            spec=model.picture,
            augmentation=Augmentation(
                crop=recipe.crop, flip=recipe.flip, turn=recipe.turn, jitter=recipe.jitter, mix=recipe.mix
            ),
            open_picture=open_picture,
        )

    def pictures(self, step: int) -> int:
        """The number of pictures before a step."""
        return step * self._recipe.batch

    def model(self) -> nn.Module:
        """A copy of the model with its first weights."""
        return copy.deepcopy(self._model.module)

    def matrices(self, model: nn.Module) -> list[nn.Parameter]:
        """All convolutions but the first, which sees pixels; the output layer is linear, and left to AdamW."""
        if not self._muon:
            return []
        convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d) and module.groups == 1]
        taken = {id(convolution.weight) for convolution in convolutions[1:]}
        return [weight for weight in model.parameters() if id(weight) in taken]

    def losses(self, model: nn.Module, batch: ClassifierBatch, device: torch.device) -> dict[str, Tensor]:
        """The cross-entropy as a scalar, for both classes of pictures that CutMix has mixed."""
        logits = model(normalise(batch.pixels, self._model, device))
        mixed = ((batch.classes, batch.share), (batch.others, 1 - batch.share))
        terms = [share * self._cross_entropy(logits, classes) for classes, share in mixed if share]
        return {"classes": torch.stack(terms).sum()}

    def scores(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Validation scores, as `classification_scores`."""
        return classification_scores(model, self._model, self._validation, device)

    def _cross_entropy(self, logits: Tensor, classes: NDArray[np.int64]) -> Tensor:
        """The weighted mean over a batch: logits [batch, classes], true classes int64 [batch] -> scalar."""
        right = torch.from_numpy(classes).to(logits.device)
        losses = nn.functional.cross_entropy(logits, right, reduction="none", label_smoothing=self._recipe.smoothing)
        return (losses * self._class_weights.to(logits.device)[right]).mean()

    @cached_property
    def _class_weights(self) -> Tensor:
        """The weight of a picture of each class, float32 [classes]; the mean over all pictures is 1."""
        counts = torch.tensor(self._training.counts, dtype=torch.float32)
        weights = counts.clamp(min=1) ** -self._recipe.balance
        return weights * counts.sum() / (weights * counts).sum()


def classification_scores(
    module: nn.Module, model: Model, batches: Iterable[ValidationBatch], device: torch.device
) -> dict[str, float]:
    """Scores of `module`, in evaluation mode: `score` (top-1 accuracy), `recall` (its mean over the classes), `loss`.

    `loss` is the mean cross-entropy without label smoothing. `model` says how pictures are normalised.
    """
    logits: list[Tensor] = []
    classes: list[int] = []
    with torch.inference_mode():
        for batch in batches:
            logits.append(module(normalise(batch.pixels.transpose(0, 2, 3, 1), model, device)).float().cpu())
            classes += batch.classes
    found, right = torch.cat(logits), torch.tensor(classes)
    hits = found.argmax(1) == right
    recalls = [float(hits[right == label].float().mean()) for label in sorted(set(classes))]
    return {
        "score": float(hits.float().mean()),
        "recall": sum(recalls) / len(recalls),
        "loss": float(nn.functional.cross_entropy(found, right)),
    }


def in_half_precision(module: nn.Module) -> nn.Module:
    """A copy with its weights rounded to fp16, as shardline.training.weights writes them."""
    return copy.deepcopy(module).half().float()


def normalise(pixels: NDArray[np.uint8], model: Model, device: torch.device) -> Tensor:
    """Scale to [0, 1] and normalise: uint8 [batch, height, width, 3] -> float32 [batch, 3, height, width]."""
    channels_last = torch.from_numpy(np.ascontiguousarray(pixels)).to(device).permute(0, 3, 1, 2)
    mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (model.mean, model.std))
    return (channels_last.to(torch.float32) / 255 - mean) / std
