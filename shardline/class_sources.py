"""What `shardline evaluate classifier` asks: a bundle's chain and its whole, one program, weights, a served chain."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shardline.evaluation_doors import ServedChain
from shardline.evaluation_sources import (
    is_bundle,
    is_program,
    open_bundle_programs,
    open_chain,
    open_loaded,
    open_program,
)
from shardline.training.evaluation.classifier.sources import ALL_CLASSES, Scorer, Seen, Source, read_prediction
from shardline.training.evaluation.sources import Program
from shardline.wire.errors import ModelError

TASK = "classify"
TRAINED = ".json"  # what `shardline train classifier` writes beside the weights


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassDoors:
    """`program` is which of a bundle's shards run: "portable", "compiled" or "auto"."""

    program: str

    def served(self, url: str) -> Source:
        return Served(url)

    def opened(self, model: Path | None) -> Sequence[Source]:
        """
        Raises:
            BundleError, ModelError: it is none of those that are allowed, or cannot be loaded.
        """
        assert model is not None
        return [Scorer(program=each) for each in self._programs(model)]

    def chain(self, bundle: Path) -> Source:
        return Scorer(program=open_chain(bundle, TASK, self.program))

    def _programs(self, model: Path) -> list[Program]:
        if is_bundle(model):
            return open_bundle_programs(model, TASK, self.program)
        if is_program(model):
            return [open_program(model, TASK)]
        if model.suffix == TRAINED and model.is_file():
            from shardline.training.models import load_by_name

            return [open_loaded(model.name, load_by_name(str(model), None, None, TASK))]
        raise ModelError(f"{model} is no bundle's folder, exported program (.pt2) or training's JSON: name one")


class Served:
    """A chain that answers at a URL. It is asked for the scores of all classes."""

    def __init__(self, url: str) -> None:
        self.name = url
        self._chain = ServedChain(url)

    def look(self, picture: bytes) -> Seen:
        """
        Raises:
            PredictorError: it does not answer, or with something else than the scores of all classes.
        """
        return self._chain.ask(picture, ALL_CLASSES, read_prediction, "classes")
