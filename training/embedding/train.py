"""Training of the embedding of digits with a supervised contrastive loss: `shardline train embedding`.

Batches are MNIST digits, each shifted a little. A part of the training pictures is used for validation only: the score
is how often the nearest neighbour is of the same class. The test pictures are not used at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shardline.training.embedding.mnist import Digits, as_pixels, read_digits
from shardline.training.embedding.model import MEAN, SIDE, STD, EmbeddingNet
from shardline.training.optim import TrainingSettings
from shardline.training.run import TrainingOptions, run_training, training_record
from shardline.training.weights import write_weights
from shardline.wire.errors import DatasetError, UsageError

NAME = "embedding"
TEMPERATURE = 0.1  # of the contrastive loss
_VALIDATION_EVERY = 12  # every 12th training picture is for validation
_INDEXED = 5000  # pictures among which validation looks for the nearest neighbour
_CHUNK = 500  # pictures that validation embeds at once
_SHIFT = 2  # largest shift of a digit in pixels, in each direction


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingRecipe:
    """Hyperparameters of an embedding's training, in addition to TrainingSettings.

    Raises:
        UsageError: there is not even one batch.
    """

    seed: int = 0
    pictures: int = 240_000
    batch: int = 256

    def __post_init__(self) -> None:
        if self.batch < 2 or self.pictures < self.batch:
            raise UsageError(
                f"--pictures {self.pictures} in batches of {self.batch}: a batch has at least two, and there is one"
            )


class EmbeddingBatch(NamedTuple):
    """Digits and their classes."""

    pixels: NDArray[np.uint8]  # [batch, 3, SIDE, SIDE]
    classes: NDArray[np.int64]  # [batch]


@dataclass(frozen=True, slots=True, kw_only=True)
class DigitBatches:
    """The batches of a training by number: random digits, each shifted by up to two pixels."""

    data: Path
    seed: int
    batch: int

    def __call__(self, step: int) -> EmbeddingBatch:
        """Draw the batch of a step."""
        digits = training_digits(self.data)
        random = np.random.default_rng((self.seed, step))
        chosen = random.choice(len(digits.labels), self.batch, replace=self.batch > len(digits.labels))
        padded = np.pad(digits.pictures[chosen], ((0, 0), (_SHIFT, _SHIFT), (_SHIFT, _SHIFT)))
        shifts = random.integers(0, 2 * _SHIFT + 1, (self.batch, 2))
        shifted = [
            digit[down : down + SIDE, right : right + SIDE] for digit, (down, right) in zip(padded, shifts, strict=True)
        ]
        return EmbeddingBatch(as_pixels(np.stack(shifted)), digits.labels[chosen].astype(np.int64))


class EmbeddingTrainingTask:
    """The TrainingTask of the embedding, on the training pictures of the MNIST files in `data`."""

    def __init__(self, recipe: EmbeddingRecipe, data: Path) -> None:
        if (found := read_digits(data, "train").pictures.shape[1:]) != (SIDE, SIDE):
            raise DatasetError(f"{data} holds pictures of {found[0]} x {found[1]} pixels; allowed are {SIDE} x {SIDE}")
        self._recipe = recipe
        self._data = data
        self.steps = recipe.pictures // recipe.batch
        self.draw = DigitBatches(data=data, seed=recipe.seed, batch=recipe.batch)

    def pictures(self, step: int) -> int:
        """The number of pictures before a step."""
        return step * self._recipe.batch

    def model(self) -> nn.Module:
        """The network with random weights that follow from the seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._recipe.seed)
            return EmbeddingNet()

    def matrices(self, model: nn.Module) -> list[nn.Parameter]:
        """The convolutions but the first, which sees pixels."""
        named = [(name, weight) for name, weight in model.named_parameters() if weight.dim() == 4]
        return [weight for name, weight in named if not name.startswith("blocks.0.")]

    def losses(self, model: nn.Module, batch: EmbeddingBatch, device: torch.device) -> dict[str, Tensor]:
        """The contrastive loss of a batch, a scalar."""
        classes = torch.from_numpy(batch.classes).to(device)
        return {"contrast": contrastive_loss(model(_normalise(batch.pixels, device)), classes)}

    def scores(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """`score`: the share of validation pictures whose nearest neighbour, by cosine, is of the same class."""
        known, queries = training_digits(self._data), validation_digits(self._data)
        known_vectors = _unit_vectors(model, known.pictures[:_INDEXED], device)
        query_vectors = _unit_vectors(model, queries.pictures, device)
        chunks = torch.split(query_vectors, _CHUNK)
        nearest = torch.cat([(chunk @ known_vectors.T).argmax(1) for chunk in chunks]).cpu().numpy()
        return {"score": float((known.labels[nearest] == queries.labels).mean())}


def train_embedding(recipe: Mapping[str, Any], options: TrainingOptions) -> Path:
    """Train; return the path of the weights.

    Raises:
        UsageError, DatasetError: an option or the pictures.
        TrainingStopped, TrainingError: as `fit`.
    """
    chosen = EmbeddingRecipe(seed=recipe["seed"], pictures=recipe["pictures"], batch=recipe["batch"])
    task = EmbeddingTrainingTask(chosen, Path(recipe["data"]))
    settings = TrainingSettings(rate=recipe["rate"], patience=recipe["patience"], warm_up=20, score_every=100)
    result, device = run_training(task, settings, recipe, options)
    record = training_record(NAME, recipe, result, options.folder, device)
    return write_weights(options.folder, NAME, result.model, record | {"pictures": task.pictures(result.step)})


def contrastive_loss(vectors: Tensor, classes: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """The supervised contrastive loss: float [batch, width] and int [batch] -> scalar.

    Vectors of one class are pulled together and all others pushed apart. For each vector, the other ones of the batch
    get a softmax over their cosines; the loss is the mean negative logarithm at those of the same class (Khosla et al.,
    "Supervised Contrastive Learning", 2020, equation 2, L_out). It is 0 where no class is there twice.
    """
    unit = torch.nn.functional.normalize(vectors.float(), dim=1)
    diagonal = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    cosines = (unit @ unit.T / temperature).masked_fill(diagonal, -torch.inf)  # [batch, batch]
    logs = cosines - cosines.logsumexp(dim=1, keepdim=True)
    same = (classes[:, None] == classes) & ~diagonal
    count = same.sum(dim=1)
    losses = -logs.masked_fill(~same, 0.0).sum(dim=1) / count.clamp(min=1)
    return losses.sum() / (count > 0).sum().clamp(min=1)


@lru_cache(maxsize=2)
def training_digits(data: Path) -> Digits:
    """The pictures to train with."""
    digits = read_digits(data, "train")
    kept = np.arange(len(digits.labels)) % _VALIDATION_EVERY > 0
    return Digits(pictures=digits.pictures[kept], labels=digits.labels[kept])


@lru_cache(maxsize=2)
def validation_digits(data: Path) -> Digits:
    """The pictures to validate with."""
    digits = read_digits(data, "train")
    return Digits(pictures=digits.pictures[::_VALIDATION_EVERY], labels=digits.labels[::_VALIDATION_EVERY])


def _unit_vectors(model: nn.Module, pictures: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Embeddings of length 1: grey uint8 [n, SIDE, SIDE] -> float32 [n, width]."""
    with torch.inference_mode():
        vectors = [
            model(_normalise(as_pixels(pictures[start : start + _CHUNK]), device)).float()
            for start in range(0, len(pictures), _CHUNK)
        ]
        return nn.functional.normalize(torch.cat(vectors), dim=1)


def _normalise(pixels: NDArray[np.uint8], device: torch.device) -> Tensor:
    """uint8 [batch, 3, side, side] -> float32 of the same shape, as shardline.partition.capture.Pixels does."""
    mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (torch.from_numpy(pixels).to(device).to(torch.float32) / 255 - mean) / std
