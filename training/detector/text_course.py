"""The training of the reader of texts alone, while the rest of a detector stays as it is.

It looks at many more plates in the same time than when all is trained, for nothing else has to be computed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from shardline.training.detector.backdrops import Backdrops
from shardline.training.detector.course import OTHER_SEED, Recipe, hidden_convolutions
from shardline.training.detector.data import Pictures, Sample
from shardline.training.detector.fold import begin_with, fold
from shardline.training.detector.looks import NOTHING
from shardline.training.detector.loss import misread
from shardline.training.detector.model import PlateDetector
from shardline.training.detector.shown import plates_shown
from shardline.training.detector.text_reader import TextReader
from shardline.training.detector.things import CHARACTERS
from shardline.training.plates.fonts import families
from shardline.wire.errors import ModelError

BATCH = 16  # pictures

_SCORED = 640  # pictures that each score is taken from; of a short training fewer
_LOOKED_AT = 16  # pictures from which a reader's normalisation is found again
_WRITING = 0.9  # share of boards that are no plates with any letters and digits: it must not take them for plates
_PREFIX = "text_reader."


class TextCourse:
    """A fit.Course for the reader of texts in a detector with these `weights`, which may lack it.

    Raises:
        ModelError: fewer pictures than a batch.
    """

    def __init__(self, recipe: Recipe, files: Sequence[Path], weights: Mapping[str, Tensor]) -> None:
        if recipe.pictures < BATCH:
            raise ModelError(f"--pictures {recipe.pictures}: allowed are {BATCH} or more")
        self._recipe, self._weights = recipe, weights
        self._drawn = Pictures(
            seed=recipe.seed,
            side=recipe.side,
            fonts=families("train"),
            backgrounds=Backdrops(files=tuple(files)),
            writing=_WRITING,
        )
        self.steps = recipe.pictures // BATCH
        self.draw: Callable[[int], list[Sample]] = partial(self._drawn.batch, count=BATCH)

    def pictures(self, step: int) -> int:
        return step * BATCH

    def model(self) -> TextReader:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._recipe.seed)
            reader = TextReader(len(CHARACTERS), normed=True)
        known = {name.removeprefix(_PREFIX): each for name, each in self._weights.items() if name.startswith(_PREFIX)}
        if known:
            shown, _ = plates_shown([self._drawn.draw(index) for index in range(_LOOKED_AT)], torch.device("cpu"))
            begin_with(reader, known, TextReader(len(CHARACTERS), normed=False), lambda: reader.said(shown))
        return reader

    def matrices(self, model: torch.nn.Module) -> list[torch.nn.Parameter]:
        return hidden_convolutions(model)

    def losses(self, model: torch.nn.Module, batch: Sequence[Sample], device: torch.device) -> dict[str, Tensor]:
        assert isinstance(model, TextReader)
        shown, texts = plates_shown(batch, device)
        shown = shown.contiguous(memory_format=torch.channels_last)
        return {"texts": misread(model.said(shown).flatten(0, 1), texts.flatten())}

    def scores(self, model: torch.nn.Module, device: torch.device) -> dict[str, float]:
        """`score`: the share of plates read right, of those that can be; `nothing`: of places where nothing is."""
        assert isinstance(model, TextReader)
        right = asked = nothing = empty = 0
        with torch.inference_mode():
            for start in range(0, len(self._scored), BATCH):
                shown, texts = plates_shown(self._scored[start : start + BATCH], device)
                same = model.said(shown).argmax(2) == texts
                readable = ((texts >= 0) & (texts < NOTHING)).all(1)
                right, asked = right + int(same[readable].all(1).sum()), asked + int(readable.sum())
                nothing, empty = nothing + int(same[texts == NOTHING].sum()), empty + int((texts == NOTHING).sum())
        return {"score": right / max(1, asked), "nothing": nothing / max(1, empty)}

    def finished(self, reader: torch.nn.Module) -> tuple[PlateDetector, dict[str, Any]]:
        """The detector with this reader, trained and normed, and nothing else changed; there is no more to say of it.

        Raises:
            ModelError: the weights are of another model.
        """
        detector = PlateDetector().eval()
        plain = fold(reader, TextReader(len(CHARACTERS), normed=False))
        state = {f"{_PREFIX}{name}": each for name, each in plain.state_dict().items()}
        try:
            detector.load_state_dict({**self._weights, **state})
        except RuntimeError as exc:
            raise ModelError(
                "--weights are of another model: allowed are those that `shardline train plates` wrote"
            ) from exc
        return detector, {}

    @cached_property
    def _scored(self) -> list[Sample]:
        others = replace(self._drawn, seed=self._recipe.seed + OTHER_SEED)
        return [others.draw(index) for index in range(min(_SCORED, self._recipe.pictures // 4))]
