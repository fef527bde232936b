"""Data sources of a segmentation's evaluation: models in this process, and served chains.

Both are read from the reply of the last shard, so that the same program gives the same masks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from shardline.client.masks import Segmentation, read_segmentation
from shardline.partition.compare import Outputs
from shardline.tasks.request import Request
from shardline.tasks.segment import reply
from shardline.training.evaluation.in_process import (
    LocalModel,
    open_chain,
    open_models,
)
from shardline.training.evaluation.served import ServedChain

TASK = "segment"

Mask = NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskPrediction:
    """Prediction for one picture.

    Attributes:
        mask: indexes of classes, uint8 or uint16 [height, width]; the highest value of the dtype is no class.
        labels: index -> name, of the classes that are known by this prediction.
        outputs: the model's own, where they are known.
    """

    mask: Mask
    labels: Mapping[int, str]
    outputs: Outputs | None = None

    def in_size(self, height: int, width: int) -> Mask:
        """The mask at a size, [height, width]: that of a large picture is smaller."""
        if self.mask.shape == (height, width):
            return self.mask
        rows, columns = (
            (np.arange(wanted) + 0.5) * found // wanted
            for wanted, found in zip((height, width), self.mask.shape, strict=True)
        )
        resized: Mask = self.mask[rows.astype(np.int64)][:, columns.astype(np.int64)]
        return resized


class SegmenterSource(Protocol):
    """Predicts the mask of a picture."""

    @property
    def name(self) -> str: ...

    def predict(self, picture: bytes) -> MaskPrediction:
        """
        Raises:
            ShardlineError: the picture or the source is at fault.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSegmenter:
    """A model in this process. Its outputs become a reply by the code of the last shard."""

    model: LocalModel

    @property
    def name(self) -> str:
        return self.model.name

    def predict(self, picture: bytes) -> MaskPrediction:
        pixels, view = self.model.fit(picture)
        outputs, labels = self.model.run(pixels), self.model.labels
        size, options = self.model.input_size, self.model.options
        [raw] = reply(Request(outputs=outputs, labels=labels, options=options, views=(view,), input_size=size))
        found = read_segmentation(raw)
        assert found is not None
        return MaskPrediction(mask=found.decode(), labels=_labels(found) | dict(enumerate(labels)), outputs=outputs)


class ServedSegmenter:
    """A chain that is served at a URL."""

    def __init__(self, url: str) -> None:
        self.name = url
        self._chain = ServedChain(url)

    def predict(self, picture: bytes) -> MaskPrediction:
        """
        Raises:
            PredictorError: it does not answer, or with something else than a mask.
        """
        found = self._chain.predict(picture, {}, read_segmentation, "masks")
        return MaskPrediction(mask=found.decode(), labels=_labels(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmenterSources:
    """Factory of the data sources. `program` selects the shards of a bundle: "portable", "compiled" or "auto"."""

    program: str

    def served(self, url: str) -> SegmenterSource:
        return ServedSegmenter(url)

    def open_source(self, model: Path | None) -> Sequence[SegmenterSource]:
        """
        Raises:
            UsageError: the path is none of those that are allowed.
            BundleError, ModelError: the model cannot be loaded.
        """
        assert model is not None
        return [LocalSegmenter(model=local) for local in open_models(model, TASK, self.program)]

    def chain(self, bundle: Path) -> SegmenterSource:
        return LocalSegmenter(model=open_chain(bundle, TASK, self.program))


def _labels(found: Segmentation) -> dict[int, str]:
    return {entry.index: entry.label for entry in found.classes}
