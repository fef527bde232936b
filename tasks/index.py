"""Similarity index of a retrieval bundle: its entries (index.json), its interface, and the recall of its searches."""

import json
import reprlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from shardline.wire.errors import BundleError
from shardline.wire.typed import from_json

IndexKind = Literal["flat", "ivf", "hnsw"]
Metric = Literal["l2", "cosine"]

INDEX_KINDS: tuple[IndexKind, ...] = get_args(IndexKind)
METRICS: tuple[Metric, ...] = get_args(Metric)
INDEX_FILE, ENTRIES_FILE = "index.faiss", "index.json"
EFFORTS: Mapping[IndexKind, str] = {"ivf": "nprobe", "hnsw": "efSearch"}  # request parameter of the effort, as in faiss

_RECALL_AT = 10  # nearest neighbours that recall counts
WANTED_RECALL = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """index.json, parsed: vector i is the embedding of the picture `ids[i]`, whose label is `labels[i]`, if it has one.

    `effort` is the default effort of a search: lists that are searched (nprobe) in an ivf index, candidates that are
    kept (efSearch) in an hnsw index, 0 in a flat index, which always compares with every vector.
    """

    kind: IndexKind
    metric: Metric
    width: int
    effort: int
    ids: tuple[str, ...]
    labels: tuple[str | None, ...]

    def to_json(self) -> bytes:
        """Serialise to index.json's bytes."""
        return (json.dumps(asdict(self), sort_keys=True) + "\n").encode()


def parse_entries(data: bytes) -> Entries:
    """Parse index.json's bytes.

    Raises:
        BundleError: not JSON, or not what `to_json` writes.
    """
    entries = from_json(Entries, data, error=_invalid)
    if entries.width < 0 or entries.effort < 0:
        raise _invalid("width and effort must be whole numbers from 0")
    if not entries.ids or len(entries.ids) != len(entries.labels):
        counts = f"{len(entries.ids)} ids and {len(entries.labels)} labels"
        raise _invalid(f"it has {counts}, which must be equally many, and at least one")
    return entries


def check_new(ids: Sequence[str], known: Sequence[str] = ()) -> None:
    """Check that ids are unique, among themselves and with the known ones.

    Raises:
        BundleError: an id is there twice.
    """
    twice = [name for name, count in Counter((*known, *ids)).items() if count > 1]
    if twice:
        raise BundleError(
            f"{len(twice)} pictures would be in the index twice, the first is {reprlib.repr(twice[0])}: each id is "
            "there once; leave them out, or build the index again"
        )


class Neighbours(NamedTuple):
    """Nearest neighbours of one vector, nearest first: k, or fewer where a search meets no more."""

    distances: NDArray[np.float64]  # [k]
    positions: NDArray[np.int64]  # [k], in the index's entries


class Index(Protocol):
    """Nearest neighbour search. shardline.tasks.faiss_index has the implementation that a bundle holds."""

    @property
    def entries(self) -> Entries: ...

    @property
    def most_effort(self) -> int:
        """The largest effort that makes a difference; 0 where there is nothing to choose."""
        ...

    def search(self, vectors: NDArray[Any], k: int, effort: int | None = None) -> list[Neighbours]:
        """Find the k nearest neighbours of each vector, float [n, width]; fewer where there are fewer."""
        ...

    def search_all(self, vectors: NDArray[Any], k: int) -> list[Neighbours]:
        """Find the k nearest neighbours of each vector, float [n, width], comparing with every vector."""
        ...


def recall(index: Index, exact: Index, vectors: NDArray[np.float32], effort: int | None = None) -> float:
    """Share of the ten nearest neighbours that a search of `index` finds.

    Args:
        index: the index to measure.
        exact: an index that compares with every vector.
        vectors: float32 [n, width], each of them in both indexes; a vector itself does not count as its neighbour.
        effort: of the search; the index's own by default.
    """
    found, wanted = index.search(vectors, _RECALL_AT + 1, effort), exact.search(vectors, _RECALL_AT + 1)
    shares = [
        len(set(right.positions[1:].tolist()) & set(neighbours.positions.tolist())) / max(1, len(right.positions) - 1)
        for neighbours, right in zip(found, wanted, strict=True)
    ]
    return float(np.mean(shares))


def least_effort(index: Index, exact: Index, vectors: NDArray[np.float32]) -> tuple[int, float]:
    """Find the least power of two that reaches the wanted recall as an effort, or else the largest effort.

    Args:
        index: the index to measure.
        exact: an index that compares with every vector.
        vectors: float32 [n, width], as in `recall`.

    Returns:
        The effort, and the recall that it reaches.
    """
    effort = 1
    while True:
        reached = recall(index, exact, vectors, effort)
        if reached >= WANTED_RECALL or effort >= index.most_effort:
            return effort, reached
        effort = min(2 * effort, index.most_effort)


def _invalid(found: str) -> BundleError:
    return BundleError(f"the bundle's {ENTRIES_FILE} is invalid ({found}): build the index again")
