"""What `shardline evaluate retrieval` asks: a bundle's chain and its whole, with its index, or a served chain.

Both are read from the reply that the last shard makes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shardline.client.neighbours import Retrieved, read_neighbours, retrieval_parameters
from shardline.evaluation_doors import ServedChain
from shardline.evaluation_sources import bundle_for, is_bundle, open_bundle_programs, open_chain
from shardline.storage.bundle import stage_folder
from shardline.tasks.index import Index
from shardline.tasks.request import Request
from shardline.tasks.retrieve import embeddings, reply
from shardline.training.evaluation.classifier.neighbours import NeighbourSource, Recall, read_votes
from shardline.training.evaluation.classifier.sources import Seen
from shardline.training.evaluation.difference import Outputs
from shardline.training.evaluation.share import Share
from shardline.training.evaluation.sources import Program
from shardline.wire.errors import ModelError

TASK = "retrieve"
_MOST_NAMED = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked about each picture: the vote of `k` neighbours, in classes of the data.

    `nprobe` and `ef_search` are a search's effort; None is the index's own.
    """

    classes: tuple[str, ...]
    k: int
    nprobe: int | None = None
    ef_search: int | None = None

    @property
    def parameters(self) -> dict[str, object]:
        """Of a request."""
        return retrieval_parameters(self.k, self.nprobe, self.ef_search)

    def read(self, retrieved: Retrieved, outputs: Outputs | None = None) -> Seen:
        """One picture's reply -> what it says."""
        return read_votes(retrieved.vote, [each.label for each in retrieved.neighbours], self.classes, outputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalDoors:
    """`program` is which of a bundle's shards run: "portable", "compiled" or "auto"."""

    question: Question
    program: str

    def served(self, url: str) -> NeighbourSource:
        return Served(url, self.question)

    def opened(self, model: Path | None) -> Sequence[NeighbourSource]:
        """
        Raises:
            BundleError, ModelError: it is no bundle for retrieval with an index, or a class is no label of that.
        """
        assert model is not None
        if not is_bundle(model):
            raise ModelError(f"{model} is no bundle's folder: name one")
        index = self._index(model)
        return [self._retriever(each, index) for each in open_bundle_programs(model, TASK, self.program)]

    def chain(self, bundle: Path) -> NeighbourSource:
        index = self._index(bundle)
        return self._retriever(open_chain(bundle, TASK, self.program), index)

    def _index(self, folder: Path) -> Index:
        from shardline.partition.lookup import index_of

        bundle = bundle_for(folder, TASK)
        last = bundle.stages[-1]
        index = index_of(folder / stage_folder(last.index), bundle, last)
        assert index is not None
        _check_labels(self.question.classes, index, folder)
        return index

    def _retriever(self, program: Program, index: Index) -> "Retriever":
        return Retriever(
            question=self.question, program=program, index=index, found=Recall(f"recall@{self.question.k}")
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Retriever:
    """A program in this process: what is near its embeddings is found by the last shard's own code."""

    question: Question
    program: Program
    index: Index
    found: Recall

    @property
    def name(self) -> str:
        return self.program.name

    def look(self, picture: bytes) -> Seen:
        """
        Raises:
            RequestError: a parameter that is not for this kind of index, or out of range.
        """
        pixels, _ = self.program.fit(picture)
        outputs = self.program.run(pixels)
        [prediction] = reply(Request(outputs=outputs, parameters=self.question.parameters, index=self.index))
        retrieved = read_neighbours(prediction)
        assert retrieved is not None
        [nearest] = self.index.search_all(embeddings(outputs), self.question.k)
        ids = self.index.entries.ids
        self.found.add([each.name for each in retrieved.neighbours], [ids[position] for position in nearest.positions])
        return self.question.read(retrieved, outputs)

    def recall(self) -> Share:
        return self.found.figures()


class Served:
    """A chain that answers at a URL. What is nearest indeed, it does not tell."""

    def __init__(self, url: str, question: Question) -> None:
        self.name = url
        self._chain = ServedChain(url)
        self._question = question

    def look(self, picture: bytes) -> Seen:
        """
        Raises:
            PredictorError: it does not answer, or with something else than neighbours.
        """
        said = self._chain.ask(picture, self._question.parameters, read_neighbours, "neighbours")
        return self._question.read(said)

    def recall(self) -> None:
        return None


def _check_labels(classes: Sequence[str], index: Index, folder: Path) -> None:
    """
    Raises:
        ModelError: a class of the data that no picture of the index has: no neighbour can vote for it.
    """
    labels = {each for each in index.entries.labels if each is not None}
    unknown = [each for each in classes if each not in labels]
    if unknown:
        allowed = ", ".join(sorted(labels)[:_MOST_NAMED]) + (", …" if len(labels) > _MOST_NAMED else "")
        raise ModelError(
            f"the folder {unknown[0]!r} is called as no picture of the index in {folder}: allowed are "
            f"{allowed or 'none, for its pictures have no labels'}"
        )
