"""Similarity index by faiss: made from embeddings, opened from a bundle, searched.

The index is opened from a file whose digest was checked, and is one of three kinds that hold numbers and nothing else;
nothing in it is run. Vectors are searched a few at a time and in one thread: from 20 vectors on faiss adds in another
order, so this way a picture's neighbours do not depend on the other pictures of the request.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardline.tasks.index import (
    ENTRIES_FILE,
    INDEX_FILE,
    Entries,
    IndexKind,
    Metric,
    Neighbours,
    check_new,
    parse_entries,
)
from shardline.wire.errors import BundleError, FileError, MissingPackageError

_FIRST_BYTES: Mapping[IndexKind, tuple[bytes, ...]] = {
    "flat": (b"IxF2", b"IxFI"),
    "ivf": (b"IwFl",),
    "hnsw": (b"IHNf",),
}
_TOGETHER = 16  # vectors in one search: below faiss's distance_compute_blas_threshold
_LINKS = 32  # of a vector in an hnsw index
_LEAST_IN_LIST = 39  # vectors that faiss recommends for each list of an ivf index
_MOST_CANDIDATES = 1024

Vectors = NDArray[np.float32]


class FaissIndex:
    """Embeddings in a faiss index, and the picture that each is of."""

    def __init__(self, entries: Entries, vectors: Any) -> None:
        self._entries = entries
        self._vectors = vectors  # the index object of faiss

    @property
    def entries(self) -> Entries:
        return self._entries

    @property
    def most_effort(self) -> int:
        """Lists of an ivf index, candidates of an hnsw index, 0 for a flat index."""
        if self._entries.kind == "ivf":
            return int(self._vectors.nlist)
        return _MOST_CANDIDATES if self._entries.kind == "hnsw" else 0

    def search(self, vectors: NDArray[Any], k: int, effort: int | None = None) -> list[Neighbours]:
        """Find the k nearest neighbours of each vector, float [n, width]; fewer where the search meets no more.

        Distances are Euclidean, or 1 - cosine. `effort` is the index's own by default.
        """
        parameters = self._search_parameters(_faiss(), self._entries.effort if effort is None else effort)
        return self._search(self._vectors, vectors, k, parameters)

    def search_all(self, vectors: NDArray[Any], k: int) -> list[Neighbours]:
        """Find the k nearest neighbours of each vector, float [n, width], comparing with every vector of the index.

        No effort guarantees that for an hnsw index.
        """
        if self._entries.kind == "hnsw":
            return self._search(self._vectors.storage, vectors, k, None)
        return self.search(vectors, k, self.most_effort)

    def add(self, vectors: NDArray[Any], ids: Sequence[str], labels: Sequence[str | None]) -> "FaissIndex":
        """Add vectors, float [n, width], with their pictures' ids and labels; use only the returned index from then on.

        Raises:
            BundleError: an id that is there already.
        """
        check_new(ids, self._entries.ids)
        _faiss().omp_set_num_threads(1)  # with several threads, an hnsw index would be different each time
        self._vectors.add(_for_metric(vectors, self._entries.metric))
        entries = self._entries
        return FaissIndex(
            replace(entries, ids=(*entries.ids, *ids), labels=(*entries.labels, *labels)),
            self._vectors,
        )

    def with_effort(self, effort: int) -> "FaissIndex":
        """The same index with another default effort."""
        return FaissIndex(replace(self._entries, effort=effort), self._vectors)

    def save(self, folder: Path) -> None:
        """Write both files of the index into a folder."""
        try:
            _faiss().write_index(self._vectors, str(folder / INDEX_FILE))
        except RuntimeError as exc:  # also where the disk is full
            raise FileError(f"{folder / INDEX_FILE} cannot be written: make room, or choose another folder") from exc
        (folder / ENTRIES_FILE).write_bytes(self._entries.to_json())

    def _search(self, index: Any, vectors: NDArray[Any], k: int, parameters: Any) -> list[Neighbours]:
        _faiss().omp_set_num_threads(1)
        asked = _for_metric(vectors, self._entries.metric)
        k = min(k, len(self._entries.ids))
        found = []
        for start in range(0, len(asked), _TOGETHER):
            raw, positions = index.search(asked[start : start + _TOGETHER], k, params=parameters)
            found += [self._neighbours(*row) for row in zip(raw.astype(np.float64), positions, strict=True)]
        return found

    def _search_parameters(self, faiss: Any, effort: int) -> Any:
        if self._entries.kind == "ivf":
            return faiss.SearchParametersIVF(nprobe=effort)
        return faiss.SearchParametersHNSW(efSearch=effort) if self._entries.kind == "hnsw" else None

    def _neighbours(self, raw: NDArray[np.float64], positions: NDArray[np.int64]) -> Neighbours:
        """Turn one row of faiss's result, both [k], into neighbours; position -1 stands for none."""
        met = positions >= 0
        raw, positions = raw[met], positions[met]
        # rounding leaves a vector's distance to itself a little below 0
        distances = np.sqrt(np.maximum(raw, 0)) if self._entries.metric == "l2" else np.maximum(1 - raw, 0)
        order = np.lexsort((positions, distances))
        return Neighbours(distances[order], positions[order])


def make_index(
    vectors: NDArray[Any],
    ids: Sequence[str],
    labels: Sequence[str | None],
    *,
    kind: IndexKind,
    metric: Metric,
    threads: int = 1,
) -> FaissIndex:
    """Make an index; on one machine, the same vectors make the same index.

    Args:
        vectors: float [n, width].
        ids: of the pictures, one for each vector.
        labels: of the pictures, None where there is none.
        kind: of the index.
        metric: of the distances.
        threads: for learning the lists of an ivf index.

    Raises:
        BundleError: an id is there twice.
        MissingPackageError: faiss is not installed.
    """
    check_new(ids)
    faiss = _faiss()
    faiss.omp_set_num_threads(threads)
    ready = _for_metric(vectors, metric)
    count, width = ready.shape
    lists = max(1, min(round(4 * math.sqrt(count)), count // _LEAST_IN_LIST))  # as faiss recommends below a million
    recipe = {"flat": "Flat", "ivf": f"IVF{lists},Flat", "hnsw": f"HNSW{_LINKS},Flat"}[kind]
    made = faiss.index_factory(width, recipe, faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT)
    made.train(ready)
    entries = Entries(kind=kind, metric=metric, width=width, effort=int(kind != "flat"), ids=(), labels=())
    return FaissIndex(entries, made).add(ready, ids, labels)


def open_index(folder: Path, width: int) -> FaissIndex:
    """Open the index in a stage's folder, whose files' digests were checked.

    Args:
        folder: the stage's own folder.
        width: of the embeddings that will be searched for.

    Raises:
        BundleError: the files are no index of a known kind, do not belong together, or its vectors have another width.
        MissingPackageError: faiss is not installed.
    """
    try:
        entries = parse_entries((folder / ENTRIES_FILE).read_bytes())
        with (folder / INDEX_FILE).open("rb") as file:
            first = file.read(4)
    except OSError as exc:
        raise BundleError(f"the index in {folder} cannot be read ({exc.strerror}): build the index again") from exc
    if first not in _FIRST_BYTES[entries.kind]:
        raise BundleError(
            f"{INDEX_FILE} begins with {first!r}, an index of the kind {entries.kind} with "
            f"{' or '.join(map(repr, _FIRST_BYTES[entries.kind]))}: build the index again"
        )
    if entries.width != width:
        raise BundleError(
            f"the index holds vectors of {entries.width} numbers, and this model's embeddings have {width}: build the "
            "index again with this bundle"
        )
    faiss = _faiss()
    try:
        vectors = faiss.read_index(str(folder / INDEX_FILE))
    except (RuntimeError, MemoryError) as exc:  # MemoryError: std::bad_alloc, for a damaged length
        reason = str(exc).strip().splitlines()[-1][-200:]
        raise BundleError(f"{INDEX_FILE} cannot be read ({reason}): build the index again") from exc
    metric = faiss.METRIC_L2 if entries.metric == "l2" else faiss.METRIC_INNER_PRODUCT
    if (vectors.d, vectors.ntotal, vectors.metric_type) != (width, len(entries.ids), metric):
        raise BundleError(
            f"{INDEX_FILE} holds {vectors.ntotal} vectors of {vectors.d} numbers, {ENTRIES_FILE} lists "
            f"{len(entries.ids)} of {width}, or their metrics differ: build the index again"
        )
    return FaissIndex(entries, vectors)


def _for_metric(vectors: NDArray[Any], metric: Metric) -> Vectors:
    """Vectors as faiss takes them, float32 [n, width]; for cosine of length 1, except those of only zeros."""
    ready = np.ascontiguousarray(vectors, np.float32)
    if metric == "l2":
        return ready
    lengths = np.linalg.norm(ready.astype(np.float64), axis=1, keepdims=True)
    return (ready / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)


def _faiss() -> Any:
    """Import faiss, which only bundles with an index need.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        import faiss
    except ImportError as exc:
        raise MissingPackageError(f"an index needs faiss ({exc}): pip install 'shardline[retrieval]'") from exc
    return faiss
