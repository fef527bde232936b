"""Data sources of a detector's evaluation: models in this process, and served chains.

Both are read from the reply of the last shard, so that the same program gives the same objects to the last digit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from shardline.client.boxes import DetectedObject, read_boxes
from shardline.partition.compare import Outputs
from shardline.tasks.detect import reply
from shardline.tasks.request import Request
from shardline.training.evaluation.in_process import (
    LocalModel,
    open_chain,
    open_models,
)
from shardline.training.evaluation.served import ServedChain

TASK = "detect"
PARAMETERS = {"threshold": 0.001, "top": 300}  # of a request: less likely objects change no average precision


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectedPicture:
    """Objects in one picture, highest score first; `outputs` are the model's own, where they are known."""

    objects: tuple[DetectedObject, ...]
    outputs: Outputs | None = None


class DetectorSource(Protocol):
    """Detects the objects in a picture. `labels` are the model's, empty where they are not known."""

    @property
    def name(self) -> str: ...

    @property
    def labels(self) -> tuple[str, ...]: ...

    def predict(self, picture: bytes) -> DetectedPicture:
        """
        Raises:
            ShardlineError: the picture or the source is at fault.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalDetector:
    """A model in this process. Its outputs become a reply by the code of the last shard."""

    model: LocalModel

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def labels(self) -> tuple[str, ...]:
        return self.model.labels

    def predict(self, picture: bytes) -> DetectedPicture:
        pixels, view = self.model.fit(picture)
        outputs = self.model.run(pixels)
        height, width = pixels.shape[2:]
        [raw] = reply(
            Request(
                outputs=outputs,
                labels=self.model.labels,
                options=self.model.options,
                parameters=PARAMETERS,
                views=(view,),
                input_size=(height, width),
            )
        )
        objects = read_boxes(raw)
        assert objects is not None
        return DetectedPicture(objects=objects, outputs=outputs)


class ServedDetector:
    """A chain that is served at a URL."""

    labels: tuple[str, ...] = ()

    def __init__(self, url: str) -> None:
        self.name = url
        self._chain = ServedChain(url)

    def predict(self, picture: bytes) -> DetectedPicture:
        """
        Raises:
            PredictorError: it does not answer, or with something else than boxes.
        """
        return DetectedPicture(objects=self._chain.predict(picture, PARAMETERS, read_boxes, "boxes"))


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorSources:
    """Factory of the data sources. `program` selects the shards of a bundle: "portable", "compiled" or "auto"."""

    program: str

    def served(self, url: str) -> DetectorSource:
        return ServedDetector(url)

    def open_source(self, model: Path | None) -> Sequence[DetectorSource]:
        """
        Raises:
            UsageError: the path is none of those that are allowed.
            BundleError, ModelError: the model cannot be loaded.
        """
        assert model is not None
        return [LocalDetector(model=local) for local in open_models(model, TASK, self.program)]

    def chain(self, bundle: Path) -> DetectorSource:
        return LocalDetector(model=open_chain(bundle, TASK, self.program))
