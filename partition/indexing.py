"""Build the index of a bundle: embed pictures with the chain of shards, and store the vectors with the last shard.

An index belongs to the bundle as its shards do: its files are listed in bundle.json, so a bundle with another index is
another bundle, with another digest, and a chain never answers from an index that its manifest does not name. The model
is not changed.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from shardline.partition.device import CPU, available_cpus
from shardline.partition.lookup import embedding_width, index_files, index_of
from shardline.partition.runtime import Golden, load_shard, run_chain
from shardline.storage.bundle import GOLDEN_PICTURE_FILE, GOLDEN_REPLY_FILE, stage_folder
from shardline.storage.bundle_folder import changing_bundle, open_bundle
from shardline.tasks.faiss_index import FaissIndex, make_index, open_index
from shardline.tasks.index import Entries, IndexKind, Metric, least_effort
from shardline.tasks.registry import task_code, task_reply
from shardline.tasks.request import Request
from shardline.tasks.retrieve import embeddings
from shardline.wire.errors import BundleError

if TYPE_CHECKING:
    from shardline.partition.build import GoldenPicture

FLAT_UP_TO = 20_000  # vectors: comparing with all of them takes a millisecond or two
HNSW_UP_TO = 500_000  # a vector has 256 bytes of links beside its numbers; an ivf index has none, but searches slower

BATCH = 32
_SAMPLE = 500  # vectors that the recall is measured with


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureBatch:
    """Pictures as a transformer decodes them: `pixels` is uint8 [n, channels, h, w], with n ids and n labels."""

    pixels: np.ndarray
    ids: tuple[str, ...]
    labels: tuple[str | None, ...]


Prove = Callable[[np.ndarray], "GoldenPicture"]
"""Makes a picture file of pixels, uint8 [channels, height, width], that a served chain is tested with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexResult:
    """The bundle with its new index.

    `recall` is the share of the ten nearest neighbours that a search finds; None where a search finds all of them, or
    the share was not measured.
    """

    digest: str
    entries: Entries
    recall: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Embedded:
    """Vectors, float32 [n, width], ids and labels of n pictures, and the first's pixels, uint8 [channels, h, w]."""

    vectors: np.ndarray
    ids: tuple[str, ...]
    labels: tuple[str | None, ...]
    first: np.ndarray


def build_index(
    folder: Path,
    pictures: Iterable[PictureBatch],
    prove: Prove,
    *,
    kind: IndexKind | None = None,
    metric: Metric = "cosine",
    device: torch.device = CPU,
) -> IndexResult:
    """Build the index of the bundle at `folder` from pictures; it replaces an earlier index.

    The first picture becomes the bundle's golden picture: the reply to a picture that is far from all others would not
    test the index.

    Args:
        prove: makes the golden picture's file.
        kind: kind of index; None chooses by the number of pictures: flat, then hnsw, then ivf.

    Raises:
        BundleError: the bundle's task has no index, there is no picture, an id stands twice, or faiss is not installed.
    """
    chain = _Chain(folder, device)
    embedded = chain.embed(pictures)
    index, recall = _indexed(embedded, kind, metric)
    return IndexResult(digest=chain.write(index, prove(embedded.first)), entries=index.entries, recall=recall)


def add_to_index(
    folder: Path, pictures: Iterable[PictureBatch], prove: Prove, *, device: torch.device = CPU
) -> IndexResult:
    """Add pictures to the index of the bundle at `folder`; its kind and search settings stay.

    Raises:
        BundleError: as `build_index`, or there is no index yet.
    """
    chain = _Chain(folder, device)
    last = chain.bundle.stages[-1]
    where = folder / stage_folder(last.index)
    index_of(where, chain.bundle, last)  # it raises where an index is missing
    index = open_index(where, embedding_width(last))
    embedded = chain.embed(pictures)
    larger = index.add(embedded.vectors, embedded.ids, embedded.labels)
    return IndexResult(digest=chain.write(larger, prove(embedded.first)), entries=larger.entries)


def _indexed(embedded: _Embedded, kind: IndexKind | None, metric: Metric) -> tuple[FaissIndex, float | None]:
    """Make the index, and measure the recall of its default search."""
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
    """A bundle's portable shards, loaded in this process; they are equal to the whole."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.bundle = open_bundle(folder)
        if task_code(self.bundle.task.name).open_index is None:
            raise BundleError(
                f"{folder} is for the task {self.bundle.task.name}, which has no index: build it with --task retrieve"
            )
        embedding_width(self.bundle.stages[-1])
        self._folder = folder
        where = [folder / stage_folder(stage.index) for stage in self.bundle.stages]
        shards = [load_shard(stage, device=device, program="portable") for stage in where]
        joins = all(shard.can_join(Golden.load(stage)) for shard, stage in zip(shards, where, strict=True))
        self._batch = BATCH if joins else 1
        self._run = partial(run_chain, shards)

    def embed(self, pictures: Iterable[PictureBatch]) -> _Embedded:
        """Run all pictures, and collect their vectors.

        Raises:
            BundleError: there is no picture.
        """
        vectors: list[np.ndarray] = []
        ids: list[str] = []
        labels: list[str | None] = []
        first = None
        waiting: list[np.ndarray] = []  # batches are always full but the last: last digits depend on their size
        for batch in pictures:
            first = batch.pixels[0] if first is None else first
            ids += batch.ids
            labels += batch.labels
            waiting += list(batch.pixels)
            while len(waiting) >= self._batch:
                vectors.append(embeddings(self._run(np.stack(waiting[: self._batch]))))
                del waiting[: self._batch]
        if first is None:
            raise BundleError("there is no picture to build an index from: name another --data")
        if waiting:
            vectors.append(embeddings(self._run(np.stack(waiting))))
        return _Embedded(vectors=np.concatenate(vectors), ids=tuple(ids), labels=tuple(labels), first=first)

    def write(self, index: FaissIndex, golden: "GoldenPicture") -> str:
        """Put the index into the bundle, and return the bundle's new digest."""
        request = Request(outputs=self._run(golden.pixels), views=(golden.view,), index=index)
        reply = self.bundle.reply(task_reply(self.bundle.task.name)(request))
        changed = (*index_files(self.bundle), GOLDEN_PICTURE_FILE, GOLDEN_REPLY_FILE)
        with changing_bundle(self._folder, changed) as (draft, before):
            if before.digest != self.bundle.digest:
                raise BundleError(f"{self._folder} was changed by another process meanwhile: try again")
            index.save(draft / stage_folder(before.stages[-1].index))
            (draft / GOLDEN_PICTURE_FILE).write_bytes(golden.png)
            (draft / GOLDEN_REPLY_FILE).write_text(json.dumps(reply, indent=1) + "\n")
        return open_bundle(self._folder).digest
