"""Training tasks of the detector: all of it on small pictures full of plates, or its reader of whole plates alone.

Training pictures have a quarter of the served pixels: whatever is learnt there holds at any position of a larger
picture, and for large plates at a smaller scale (model.py). A training begins with random weights, or with those of an
earlier one. The reader alone sees many more plates in the same time, since nothing else is computed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shardline.storage.bundle import IMAGENET_MEAN, IMAGENET_STD
from shardline.tasks.plates.grammar import PlateGrammar, built_in
from shardline.training.detector.augmentation import AugmentedBackgrounds
from shardline.training.detector.layers import fold_normalisation, load_folded
from shardline.training.detector.losses import detection_losses, make_target, reading_loss
from shardline.training.detector.model import LEAST_SIDE, STRIDES, PlateDetector
from shardline.training.detector.objects import KINDS, TEXTS, nothing
from shardline.training.detector.readers import CHARACTER_SIDE, PLATE_SIZE, TextReader, crop_boards, crop_characters
from shardline.training.detector.samples import BATCH, DetectorSample, DetectorSamples
from shardline.training.detector.scores import DetectorScores, calibrate
from shardline.training.plates.backgrounds import Backgrounds
from shardline.training.plates.fonts import families
from shardline.wire.errors import ModelError, UsageError

VALIDATION_SEED = 1 << 32  # added to the seed of validation pictures
TEXT_BATCH = 16  # pictures in a batch of the text reader alone

_VALIDATED, _TEXTS_VALIDATED = 200, 640  # most pictures that validation scores are taken from
_NORMALISED = 16  # pictures from which normalisation is restored
_PLATE_CROPS = 3  # of each picture: all of them would take half as much time again as the rest
_OUTPUT_LAYERS = ("places.weight", "where.weight")
_WRITING = 0.9  # share of boards that are no plates with any letters and digits, for the text reader alone
_PREFIX = "text_reader."


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorRecipe:
    """Hyperparameters of the detector's training, in addition to TrainingSettings.

    Raises:
        UsageError: a number is out of range.
    """

    seed: int = 0
    pictures: int = 40_000
    side: int = 256  # of the pictures, in pixels
    grammar: PlateGrammar = field(default_factory=built_in)

    def __post_init__(self) -> None:
        if self.side % LEAST_SIDE or self.side < LEAST_SIDE:
            raise UsageError(f"--side {self.side}: allowed are multiples of {LEAST_SIDE}, e.g. 256")
        if self.pictures < BATCH:
            raise UsageError(f"--pictures {self.pictures}: allowed are {BATCH} or more")


class DetectorTrainingTask:
    """The TrainingTask of the whole detector, in fonts to train with, on the photographs `files`.

    Args:
        weights: tensors of a trained detector by name, to begin with; what they lack is random.
    """

    def __init__(
        self, recipe: DetectorRecipe, files: Sequence[Path], weights: Mapping[str, Tensor] | None = None
    ) -> None:
        photographs = tuple(files)
        self._recipe, self._weights = recipe, weights
        self._plain = Backgrounds(files=photographs)
        self._samples = DetectorSamples(
            seed=recipe.seed,
            side=recipe.side,
            fonts=families("train"),
            backgrounds=AugmentedBackgrounds(files=photographs),
            grammar=recipe.grammar,
        )
        self.steps = recipe.pictures // BATCH
        self.draw = self._samples.batch

    def pictures(self, step: int) -> int:
        """The number of pictures before a step."""
        return step * BATCH

    def model(self) -> PlateDetector:
        """The detector with normalisation and its first weights."""
        model = first_detector(self._recipe, normed=True)
        if self._weights is not None:
            samples = [self._samples.draw(index) for index in range(_NORMALISED)]
            pictures = normalise([sample.pixels for sample in samples], torch.device("cpu"))
            characters, _ = character_batch(samples, pictures.device)
            plates, _ = plate_batch(samples, pictures.device)
            load_folded(model, self._weights, self._plain_detector(), lambda: model.heads(pictures, characters, plates))
        return model

    def matrices(self, model: nn.Module) -> list[nn.Parameter]:
        """The convolutions that Muon trains, see `hidden_convolutions`."""
        return hidden_convolutions(model)

    def losses(self, model: nn.Module, batch: Sequence[DetectorSample], device: torch.device) -> dict[str, Tensor]:
        """The losses of all heads and both readers, a scalar for each."""
        assert isinstance(model, PlateDetector)
        side = batch[0].pixels.shape[0]
        objects = [sample.objects for sample in batch]
        targets = [make_target(kind, objects, side, STRIDES[kind]).to(device) for kind in range(KINDS)]
        characters, classes = character_batch(batch, device)
        plates, texts = plate_batch(batch, device, _PLATE_CROPS)
        pictures = normalise([sample.pixels for sample in batch], device)
        maps, character_logits, text_logits = model.heads(pictures, characters, plates)
        losses = detection_losses(maps, targets)
        if len(classes):
            losses["characters_class"] = reading_loss(character_logits, classes)
        if len(texts):
            losses["texts"] = reading_loss(text_logits.flatten(0, 1), texts.flatten())
        return losses

    def scores(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Validation scores, as `DetectorScores`, of pictures that are never trained with."""
        counted = DetectorScores()
        with torch.inference_mode():
            for start in range(0, len(self._validation), BATCH):
                samples = self._validation[start : start + BATCH]
                outputs = model(normalise([sample.pixels for sample in samples], device))
                counted.add([output.float().cpu().numpy() for output in outputs], samples)
        return counted.scores()

    def finished(self, trained: nn.Module) -> tuple[PlateDetector, dict[str, Any]]:
        """The detector without normalisation and with calibrated scores, and what the record says of it."""
        detector = fold_normalisation(trained, self._plain_detector())
        return detector, {"calibration": calibrate(detector, self._calibration_batches())}

    def _plain_detector(self) -> PlateDetector:
        return PlateDetector(grammar=self._recipe.grammar)

    def _calibration_batches(self) -> Iterator[tuple[Tensor, Sequence[DetectorSample]]]:
        """Batches on the CPU of pictures at the served resolution that are never trained with."""
        others = replace(self._others, side=2 * self._recipe.side)
        for start in range(0, self._count, BATCH):
            samples = [others.draw(index) for index in range(start, min(start + BATCH, self._count))]
            yield normalise([sample.pixels for sample in samples], torch.device("cpu")), samples

    @property
    def _count(self) -> int:
        return min(_VALIDATED, self._recipe.pictures // 4)

    @property
    def _others(self) -> DetectorSamples:
        return replace(self._samples, seed=self._recipe.seed + VALIDATION_SEED, backgrounds=self._plain)

    @cached_property
    def _validation(self) -> list[DetectorSample]:
        return [self._others.draw(index) for index in range(self._count)]


class TextReaderTrainingTask:
    """The TrainingTask of the text reader in a detector with these `weights`, which may lack it.

    Raises:
        UsageError: there are fewer pictures than in a batch.
    """

    def __init__(self, recipe: DetectorRecipe, files: Sequence[Path], weights: Mapping[str, Tensor]) -> None:
        if recipe.pictures < TEXT_BATCH:
            raise UsageError(f"--pictures {recipe.pictures}: allowed are {TEXT_BATCH} or more")
        self._recipe, self._weights = recipe, weights
        self._samples = DetectorSamples(
            seed=recipe.seed,
            side=recipe.side,
            fonts=families("train"),
            backgrounds=AugmentedBackgrounds(files=tuple(files)),
            writing=_WRITING,
            grammar=recipe.grammar,
        )
        self.steps = recipe.pictures // TEXT_BATCH
        self.draw: Callable[[int], list[DetectorSample]] = partial(self._samples.batch, count=TEXT_BATCH)

    def pictures(self, step: int) -> int:
        """The number of pictures before a step."""
        return step * TEXT_BATCH

    def model(self) -> TextReader:
        """The reader with normalisation and its first weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._recipe.seed)
            reader = self._reader(normed=True)
        known = {name.removeprefix(_PREFIX): value for name, value in self._weights.items() if name.startswith(_PREFIX)}
        if known:
            samples = [self._samples.draw(index) for index in range(_NORMALISED)]
            crops, _ = plate_batch(samples, torch.device("cpu"))
            load_folded(reader, known, self._reader(normed=False), lambda: reader.logits(crops))
        return reader

    def _reader(self, *, normed: bool) -> TextReader:
        grammar = self._recipe.grammar
        return TextReader(len(grammar.characters), len(grammar.alphabets), normed=normed)

    def matrices(self, model: nn.Module) -> list[nn.Parameter]:
        """The convolutions that Muon trains, see `hidden_convolutions`."""
        return hidden_convolutions(model)

    def losses(self, model: nn.Module, batch: Sequence[DetectorSample], device: torch.device) -> dict[str, Tensor]:
        """The reader's loss, a scalar."""
        assert isinstance(model, TextReader)
        crops, texts = plate_batch(batch, device)
        crops = crops.contiguous(memory_format=torch.channels_last)
        return {"texts": reading_loss(model.logits(crops).flatten(0, 1), texts.flatten())}

    def scores(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """`score`: the share of readable plates that are read right; `nothing`: of positions where nothing is."""
        assert isinstance(model, TextReader)
        right = plates = blank = empty = 0
        none = nothing(self._recipe.grammar)
        with torch.inference_mode():
            for start in range(0, len(self._validation), TEXT_BATCH):
                crops, texts = plate_batch(self._validation[start : start + TEXT_BATCH], device)
                same = model.logits(crops).argmax(2) == texts  # [m, 7]
                readable = ((texts >= 0) & (texts < none)).all(1)
                right, plates = right + int(same[readable].all(1).sum()), plates + int(readable.sum())
                blank, empty = blank + int(same[texts == none].sum()), empty + int((texts == none).sum())
        return {"score": right / max(1, plates), "nothing": blank / max(1, empty)}

    def finished(self, reader: nn.Module) -> tuple[PlateDetector, dict[str, Any]]:
        """The detector with this reader, and nothing else changed; the record says no more of it.

        Raises:
            ModelError: the weights are of another model.
        """
        detector = PlateDetector(grammar=self._recipe.grammar).eval()
        plain = fold_normalisation(reader, self._reader(normed=False))
        state = {f"{_PREFIX}{name}": value for name, value in plain.state_dict().items()}
        try:
            detector.load_state_dict({**self._weights, **state})
        except RuntimeError as exc:
            raise ModelError(
                "--weights are of another model: allowed are those that `shardline train plates` wrote"
            ) from exc
        return detector, {}

    @cached_property
    def _validation(self) -> list[DetectorSample]:
        others = replace(self._samples, seed=self._recipe.seed + VALIDATION_SEED)
        return [others.draw(index) for index in range(min(_TEXTS_VALIDATED, self._recipe.pictures // 4))]


def first_detector(recipe: DetectorRecipe, *, normed: bool = False) -> PlateDetector:
    """A detector with the random weights of the recipe's seed; `normed` with normalisation, to train with."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return PlateDetector(normed=normed, grammar=recipe.grammar)


def hidden_convolutions(model: nn.Module) -> list[nn.Parameter]:
    """The weights of all convolutions but the first ones, which see pixels, and the output layers."""
    named = [(name, weight) for name, weight in model.named_parameters() if weight.dim() == 4]
    return [weight for name, weight in named if "stem." not in name and not name.endswith(_OUTPUT_LAYERS)]


def normalise(pictures: Sequence[NDArray[np.uint8]], device: torch.device) -> Tensor:
    """Stack and normalise pictures: uint8 [side, side, 3] each -> float32 [batch, 3, side, side]."""
    pixels = torch.from_numpy(np.stack(pictures)).to(device).permute(0, 3, 1, 2)
    mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (pixels.to(torch.float32) / 255 - mean) / std


def character_batch(samples: Sequence[DetectorSample], device: torch.device) -> tuple[Tensor, Tensor]:
    """The crops of all samples' characters, float32 [m, 3, 32, 32], and their classes, int64 [m]."""

    def crop(picture: Tensor, rows: Tensor) -> Tensor:
        return crop_characters(picture, rows[..., :4])

    size = CHARACTER_SIDE, CHARACTER_SIDE
    crops, rows = _cropped(samples, [sample.character_crops for sample in samples], size, device, crop)
    return crops, torch.from_numpy(rows[:, 4]).long().to(device)


def plate_batch(
    samples: Sequence[DetectorSample], device: torch.device, most: int | None = None
) -> tuple[Tensor, Tensor]:
    """The crops of all samples' plates, float32 [m, 3, 64, 128], and the classes of their positions, int64 [m, 7].

    Args:
        most: crops of each sample; the first ones, which are in random order.
    """

    def crop(picture: Tensor, rows: Tensor) -> Tensor:
        return crop_boards(picture, rows[..., :4], rows[..., 4:TEXTS])

    crops, rows = _cropped(samples, [sample.plate_crops[:most] for sample in samples], PLATE_SIZE, device, crop)
    return crops, torch.from_numpy(rows[:, TEXTS:]).long().to(device)


def _cropped(
    samples: Sequence[DetectorSample], rows: Sequence[NDArray[np.float32]], size: tuple[int, int], device: torch.device,
    crop: Callable[[Tensor, Tensor], Tensor],
) -> tuple[Tensor, NDArray[np.float32]]:  # fmt: skip
    """The crops of all samples, [m, 3, *size], and their rows, [m, columns]."""
    crops = [torch.zeros(0, len(IMAGENET_MEAN), *size, device=device)]
    for sample, own in zip(samples, rows, strict=True):
        if len(own):
            picture, boxes = (torch.from_numpy(values).to(device) for values in (sample.pixels, own))
            crops.append(crop(picture.permute(2, 0, 1)[None], boxes[None]))
    return torch.cat(crops), np.concatenate(rows)
