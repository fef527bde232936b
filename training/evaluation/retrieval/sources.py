"""Data sources of a retrieval's evaluation: a bundle's chain and its whole with its index, and served chains.

A vote of the k nearest neighbours is read as a classifier's prediction. All that is read stands in the reply, so that a
served chain, whose index is elsewhere, has the same metrics as the one in this process. The classes are those of the
data and one more, which stands for all labels that the data does not have.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from shardline.client.neighbours import Retrieved, read_neighbours, retrieval_parameters
from shardline.partition.compare import Outputs
from shardline.storage.bundle import stage_folder
from shardline.tasks.index import Index
from shardline.tasks.request import Request
from shardline.tasks.retrieve import embeddings, reply
from shardline.training.evaluation.classifier.sources import ClassifierSource, ClassPrediction
from shardline.training.evaluation.in_process import (
    LocalModel,
    is_bundle,
    open_bundle_models,
    open_chain,
    read_bundle_for,
)
from shardline.training.evaluation.metrics import Proportion, proportion
from shardline.training.evaluation.served import ServedChain
from shardline.wire.errors import DatasetError, UsageError

TASK = "retrieve"
NO_LABEL = "n/a"  # the predicted label where no neighbour has one; no folder can have this name

_MOST_NAMED = 10  # labels that an error message lists


def read_votes(
    vote: str | None, labels: Sequence[str | None], classes: Sequence[str], outputs: Outputs | None = None
) -> ClassPrediction:
    """Read the labels of a picture's neighbours as a prediction.

    The score of a class is the share of the neighbours that have its label. Classes are ordered by score, of equal ones
    by the nearest neighbour, and the vote is first; a class that no neighbour has is not predicted. The class after the
    data's own has the first label in that order that the data does not have.

    Args:
        vote: the one in the reply.
        labels: of the neighbours, the nearest first.
        classes: labels of the data.
        outputs: arrays of the model, where they are known.
    """
    counts = Counter(label for label in labels if label is not None)
    ranked = [label for label, _ in counts.most_common()]  # of equal counts the one that came first
    if vote is not None:
        ranked = [vote, *(label for label in ranked if label != vote)]
    numbers = {label: number for number, label in enumerate(classes)}
    names = (*classes, next((label for label in ranked if label not in numbers), NO_LABEL))
    order = [numbers.get(label, len(classes)) for label in ranked]
    return ClassPrediction(
        labels=names,
        scores=np.array([counts[label] for label in names]) / max(1, len(labels)),
        order=np.array(order or [len(classes)]),
        outputs=outputs,
    )


@dataclass(slots=True)
class Recall:
    """Accumulator of the recall of an index: how many of the true nearest neighbours a search finds."""

    name: str
    _found: int = 0
    _nearest: int = 0

    def add(self, found: Collection[str], nearest: Collection[str]) -> None:
        """Add one picture: ids that the search found, and ids of its true nearest neighbours."""
        self._found += len(set(found) & set(nearest))
        self._nearest += len(nearest)

    def recall(self) -> Proportion:
        return proportion(self.name, self._found, self._nearest)


class RetrievalSource(ClassifierSource, Protocol):
    """A source that may know the recall of its index over all its predictions so far."""

    def recall(self) -> Proportion | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalQuery:
    """Parameters of all requests: `k` neighbours vote for one of `classes`, the labels of the data.

    `nprobe` and `ef_search` are the effort of a search; None is the index's own.
    """

    classes: tuple[str, ...]
    k: int
    nprobe: int | None = None
    ef_search: int | None = None

    @property
    def parameters(self) -> dict[str, object]:
        """Parameters of a request."""
        return retrieval_parameters(self.k, self.nprobe, self.ef_search)

    def read(self, retrieved: Retrieved, outputs: Outputs | None = None) -> ClassPrediction:
        """Read the reply for one picture; `outputs` are the model's arrays, where they are known."""
        labels = [neighbour.label for neighbour in retrieved.neighbours]
        return read_votes(retrieved.vote, labels, self.classes, outputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRetrieval:
    """A model in this process. The code of the last shard finds the neighbours of its embeddings."""

    query: RetrievalQuery
    model: LocalModel
    index: Index
    found: Recall

    @property
    def name(self) -> str:
        return self.model.name

    def predict(self, picture: bytes) -> ClassPrediction:
        """
        Raises:
            RequestError: a parameter that is not for this kind of index, or out of range.
        """
        pixels, _ = self.model.fit(picture)
        outputs = self.model.run(pixels)
        [raw] = reply(Request(outputs=outputs, parameters=self.query.parameters, index=self.index))
        retrieved = read_neighbours(raw)
        assert retrieved is not None
        [nearest] = self.index.search_all(embeddings(outputs), self.query.k)
        ids = self.index.entries.ids
        self.found.add(
            [neighbour.name for neighbour in retrieved.neighbours], [ids[position] for position in nearest.positions]
        )
        return self.query.read(retrieved, outputs)

    def recall(self) -> Proportion:
        return self.found.recall()


class ServedRetrieval:
    """A chain that is served at a URL. Its replies do not tell the true nearest neighbours, so recall is unknown."""

    def __init__(self, url: str, query: RetrievalQuery) -> None:
        self.name = url
        self._chain = ServedChain(url)
        self._query = query

    def predict(self, picture: bytes) -> ClassPrediction:
        """
        Raises:
            PredictorError: it does not answer, or with something else than neighbours.
        """
        retrieved = self._chain.predict(picture, self._query.parameters, read_neighbours, "neighbours")
        return self._query.read(retrieved)

    def recall(self) -> None:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalSources:
    """Factory of the data sources. `program` selects the shards of a bundle: "portable", "compiled" or "auto"."""

    query: RetrievalQuery
    program: str

    def served(self, url: str) -> RetrievalSource:
        return ServedRetrieval(url, self.query)

    def open_source(self, model: Path | None) -> Sequence[RetrievalSource]:
        """
        Raises:
            UsageError: the path is not the folder of a bundle.
            BundleError: the bundle is not for retrieval, or has no index.
            DatasetError: a class of the data is no label of the index.
        """
        assert model is not None
        if not is_bundle(model):
            raise UsageError(f"{model} is not the folder of a bundle: name one")
        index = self._index(model)
        return [self._local(local, index) for local in open_bundle_models(model, TASK, self.program)]

    def chain(self, bundle: Path) -> RetrievalSource:
        index = self._index(bundle)
        return self._local(open_chain(bundle, TASK, self.program), index)

    def _index(self, folder: Path) -> Index:
        from shardline.partition.lookup import index_of

        bundle = read_bundle_for(folder, TASK)
        last = bundle.stages[-1]
        index = index_of(folder / stage_folder(last.index), bundle, last)
        assert index is not None
        _check_labels(self.query.classes, index, folder)
        return index

    def _local(self, model: LocalModel, index: Index) -> LocalRetrieval:
        return LocalRetrieval(query=self.query, model=model, index=index, found=Recall(f"recall@{self.query.k}"))


def _check_labels(classes: Sequence[str], index: Index, folder: Path) -> None:
    """
    Raises:
        DatasetError: no picture of the index has the label of a class of the data: no neighbour can vote for it.
    """
    labels = {label for label in index.entries.labels if label is not None}
    unknown = [name for name in classes if name not in labels]
    if unknown:
        allowed = ", ".join(sorted(labels)[:_MOST_NAMED]) + (", …" if len(labels) > _MOST_NAMED else "")
        raise DatasetError(
            f"folder {unknown[0]!r} does not match any label of the index in {folder}: allowed are "
            f"{allowed or 'none, since its pictures have no labels'}"
        )
