"""Data sources of a classifier's evaluation: models in this process, and served chains.

Both are read from the reply of the last shard, so that the same program gives the same scores to the last digit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shardline.partition.compare import Outputs
from shardline.tasks.classify import reply
from shardline.tasks.request import Request
from shardline.training.evaluation.in_process import (
    LocalModel,
    is_bundle,
    is_program,
    open_bundle_models,
    open_chain,
    open_model,
    open_program,
)
from shardline.training.evaluation.served import ServedChain
from shardline.wire.errors import UsageError

TASK = "classify"
ALL_CLASSES = {"top": 1_000_000}  # parameters of a request: more classes than any model has

_TRAINED_SUFFIX = ".json"  # of the file that `shardline train classifier` writes with the weights


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassPrediction:
    """Prediction for one picture.

    Attributes:
        labels: names of the model's classes, in its order.
        scores: float64 [classes].
        order: int64 [n], n at least 1: the predicted classes, highest score first.
        outputs: the model's own, where they are known.
    """

    labels: tuple[str, ...]
    scores: NDArray[np.float64]
    order: NDArray[np.int64]
    outputs: Outputs | None = None


class ClassifierSource(Protocol):
    """Predicts the class of a picture."""

    @property
    def name(self) -> str: ...

    def predict(self, picture: bytes) -> ClassPrediction:
        """
        Raises:
            ShardlineError: the picture or the source is at fault.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalClassifier:
    """A model in this process. Its outputs become a reply by the code of the last shard."""

    model: LocalModel

    @property
    def name(self) -> str:
        return self.model.name

    def predict(self, picture: bytes) -> ClassPrediction:
        pixels, _ = self.model.fit(picture)
        outputs = self.model.run(pixels)
        [raw] = reply(
            Request(outputs=outputs, labels=self.model.labels, options=self.model.options, parameters=ALL_CLASSES)
        )
        prediction = read_prediction(raw)
        assert prediction is not None
        return replace(prediction, outputs=outputs)


class ServedClassifier:
    """A chain that is served at a URL. Requests ask for the scores of all classes."""

    def __init__(self, url: str) -> None:
        self.name = url
        self._chain = ServedChain(url)

    def predict(self, picture: bytes) -> ClassPrediction:
        """
        Raises:
            PredictorError: it does not answer, or with something else than the scores of all classes.
        """
        return self._chain.predict(picture, ALL_CLASSES, read_prediction, "classes")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierSources:
    """Factory of the data sources. `program` selects the shards of a bundle: "portable", "compiled" or "auto"."""

    program: str

    def served(self, url: str) -> ClassifierSource:
        return ServedClassifier(url)

    def open_source(self, model: Path | None) -> Sequence[ClassifierSource]:
        """
        Raises:
            UsageError: the path is none of those that are allowed.
            BundleError, ModelError: the model cannot be loaded.
        """
        assert model is not None
        return [LocalClassifier(model=local) for local in self._models(model)]

    def chain(self, bundle: Path) -> ClassifierSource:
        return LocalClassifier(model=open_chain(bundle, TASK, self.program))

    def _models(self, model: Path) -> list[LocalModel]:
        if is_bundle(model):
            return open_bundle_models(model, TASK, self.program)
        if is_program(model):
            return [open_program(model, TASK)]
        if model.suffix == _TRAINED_SUFFIX and model.is_file():
            from shardline.training.models import load_by_name

            return [open_model(model.name, load_by_name(str(model), None, None, TASK))]
        raise UsageError(
            f"{model} is not the folder of a bundle, an exported program (.pt2) or the JSON of a training: name one"
        )


def read_prediction(prediction: object) -> ClassPrediction | None:
    """Read a raw prediction that lists all classes; None where it is of another kind, or lists only some of them."""
    try:
        listed = [(int(entry["index"]), str(entry["label"]), float(entry["score"])) for entry in prediction["top"]]  # type: ignore[index]
    except (TypeError, KeyError, ValueError):
        return None
    order = [index for index, _, _ in listed]
    if not order or sorted(order) != list(range(len(order))):
        return None
    by_class = sorted(listed)
    return ClassPrediction(
        labels=tuple(label for _, label, _ in by_class),
        scores=np.array([score for _, _, score in by_class]),
        order=np.array(order),
    )
