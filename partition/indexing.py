"""Pictures -> the index of a bundle: each goes through the chain of shards, and what comes out is kept beside the last.

An index belongs to the bundle as its shards do: its files are listed in bundle.json, so a bundle with another index is
another bundle, with another digest, and a chain never answers from an index that its manifest did not mean. The model
is not touched.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from shardline.partition.build import GoldenPicture
from shardline.partition.device import CPU
from shardline.partition.golden import Golden
from shardline.partition.lookup import embedding_width, index_files, index_of
from shardline.partition.proof import chain_of
from shardline.partition.runtime import load_shard
from shardline.partition.threads import available_cpus
from shardline.storage.bundle import GOLDEN_PICTURE_FILE, GOLDEN_REPLY_FILE, stage_folder
from shardline.storage.bundle_folder import changing_bundle, open_bundle
from shardline.tasks.faiss_index import FaissIndex, make_index, open_index
from shardline.tasks.index import Entries, IndexKind, Metric, least_effort
from shardline.tasks.registry import task_code, task_reply
from shardline.tasks.request import Request
from shardline.tasks.retrieve import embeddings
from shardline.wire.errors import BundleError

FLAT_UP_TO = 20_000  # vectors: to look at all of them takes a millisecond or two
HNSW_UP_TO = 500_000  # each has 256 bytes of links beside its numbers; an ivf index has none, and asks more of a search

BATCH = 32
_SAMPLE = 500  # of the vectors, to see how much a search finds


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Some pictures as a transformer makes them: `pixels` uint8 [n, 3, height, width], n ids and n labels."""

    pixels: np.ndarray
    ids: tuple[str, ...]
    labels: tuple[str | None, ...]


Prove = Callable[[np.ndarray], GoldenPicture]
"""Pixels uint8 [3, height, width] -> a picture's file that has them, to ask a served chain about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A bundle's index. `recall` is the share of the ten nearest that a search finds; None where that is all of them,
    or was not measured."""

    digest: str
    entries: Entries
    recall: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Embedded:
    """Vectors [n, width], ids and labels of n pictures, and the pixels of the first."""

    vectors: np.ndarray
    ids: tuple[str, ...]
    labels: tuple[str | None, ...]
    first: np.ndarray


def build_index(
    folder: Path,
    pictures: Iterable[Pictures],
    prove: Prove,
    *,
    kind: IndexKind | None = None,
    metric: Metric = "cosine",
    device: torch.device = CPU,
) -> Made:
    """Make the index of the bundle at `folder` of pictures; one that is there goes.

    The first picture becomes the bundle's golden one, for an index answers nothing that proves it about a picture that
    is far from all.

    Args:
        kind: None takes one by the number of pictures: flat, then hnsw, then ivf.

    Raises:
        BundleError: no bundle of a task with an index, no picture, an id twice, or faiss is not installed.
    """
    chain = _Chain(folder, device)
    embedded = chain.embed(pictures)
    index, recall = _indexed(embedded, kind, metric)
    return Made(digest=chain.write(index, prove(embedded.first)), entries=index.entries, recall=recall)


def add_to_index(folder: Path, pictures: Iterable[Pictures], prove: Prove, *, device: torch.device = CPU) -> Made:
    """Add pictures to the index of the bundle at `folder`; its kind and how it is searched stay.

    Raises:
        BundleError: as `build_index`, or there is no index yet.
    """
    chain = _Chain(folder, device)
    last = chain.bundle.stages[-1]
    where = folder / stage_folder(last.index)
    index_of(where, chain.bundle, last)  # or it says what is missing
    index = open_index(where, embedding_width(last))
    embedded = chain.embed(pictures)
    larger = index.add(embedded.vectors, embedded.ids, embedded.labels)
    return Made(digest=chain.write(larger, prove(embedded.first)), entries=larger.entries)


def _indexed(embedded: _Embedded, kind: IndexKind | None, metric: Metric) -> tuple[FaissIndex, float | None]:
    """The index, and what its usual search finds of what there is."""
    count = len(embedded.ids)
    chosen: IndexKind = kind or ("flat" if count <= FLAT_UP_TO else "hnsw" if count <= HNSW_UP_TO else "ivf")
    vectors, ids, labels = embedded.vectors, embedded.ids, embedded.labels
    index = make_index(vectors, ids, labels, kind=chosen, metric=metric, threads=available_cpus())
    if chosen == "flat":
        return index, None
    exact = make_index(vectors, ids, labels, kind="flat", metric=metric)
    effort, recall = least_effort(index, exact, vectors[:: max(1, count // _SAMPLE)])
    return index.with_effort(effort), recall


class _Chain:
    """A bundle's shards in this process: the portable ones, which give what the whole gives."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.bundle = open_bundle(folder)
        if task_code(self.bundle.task.name).open_index is None:
            raise BundleError(
                f"{folder} is for the task {self.bundle.task.name}, which has no index: build it with --task retrieve"
            )
        embedding_width(self.bundle.stages[-1])
        self._folder = folder
        where = [folder / stage_folder(stage.index) for stage in self.bundle.stages]
        shards = [load_shard(each, device=device, program="portable") for each in where]
        joins = all(shard.can_join(Golden.load(each)) for shard, each in zip(shards, where, strict=True))
        self._together = BATCH if joins else 1
        self._run = chain_of(shards)

    def embed(self, pictures: Iterable[Pictures]) -> _Embedded:
        """
        Raises:
            BundleError: there is no picture.
        """
        vectors: list[np.ndarray] = []
        ids: list[str] = []
        labels: list[str | None] = []
        first = None
        for some in pictures:
            first = some.pixels[0] if first is None else first
            parts = range(0, len(some.pixels), self._together)
            vectors += [embeddings(self._run(some.pixels[start : start + self._together])) for start in parts]
            ids += some.ids
            labels += some.labels
        if first is None:
            raise BundleError("there is no picture to make an index of: name another --data")
        return _Embedded(vectors=np.concatenate(vectors), ids=tuple(ids), labels=tuple(labels), first=first)

    def write(self, index: FaissIndex, golden: GoldenPicture) -> str:
        """The bundle with this index in its place -> its new digest."""
        request = Request(outputs=self._run(golden.pixels), views=(golden.view,), index=index)
        said = {"predictions": task_reply(self.bundle.task.name)(request)}
        changed = (*index_files(self.bundle), GOLDEN_PICTURE_FILE, GOLDEN_REPLY_FILE)
        with changing_bundle(self._folder, changed) as (draft, before):
            if before.digest != self.bundle.digest:
                raise BundleError(f"{self._folder} was changed by somebody else meanwhile: try again")
            index.save(draft / stage_folder(before.stages[-1].index))
            (draft / GOLDEN_PICTURE_FILE).write_bytes(golden.png)
            (draft / GOLDEN_REPLY_FILE).write_text(json.dumps(said, indent=1) + "\n")
        return open_bundle(self._folder).digest
