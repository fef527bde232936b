"""Retrieval: an embedding -> the pictures in the bundle's index that are nearest to it, and what they vote for.

The index is faiss's. It is opened from a file whose digest was checked, is one of three kinds that are numbers and
nothing else, and nothing in it is run. Vectors are searched a few at a time and in one thread: faiss adds in another
order from 20 on, and so what a picture gets does not depend on those that are asked about with it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardline.tasks.entries import Entries, Kind, Metric, check_new, parse_entries
from shardline.tasks.parameters import check_names
from shardline.tasks.request import Found, Outputs, Request
from shardline.tasks.votes import vote
from shardline.wire.errors import BundleError, RequestError, ShardlineError

PARAMETERS = frozenset({"k", "nprobe", "efSearch"})
K = 5  # neighbours in a reply when the request does not say
MOST_K = 1000

INDEX_FILE, ENTRIES_FILE = "index.faiss", "index.json"

EFFORTS: Mapping[Kind, str] = {"ivf": "nprobe", "hnsw": "efSearch"}  # as faiss calls them
_FIRST_BYTES: Mapping[Kind, tuple[bytes, ...]] = {"flat": (b"IxF2", b"IxFI"), "ivf": (b"IwFl",), "hnsw": (b"IHNf",)}
_TOGETHER = 16  # vectors: below faiss's distance_compute_blas_threshold
_LINKS = 32  # of a vector in an hnsw index
_LEAST_IN_LIST = 39  # vectors that faiss wants for each list of an ivf index
_MOST_CANDIDATES = 1024
_DECIMALS = 6

Vectors = NDArray[np.float32]


class FaissIndex:
    """Vectors, and which picture each is of."""

    def __init__(self, entries: Entries, vectors: Any) -> None:
        self._entries = entries
        self._vectors = vectors  # faiss's own index

    @property
    def entries(self) -> Entries:
        return self._entries

    @property
    def most_effort(self) -> int:
        if self._entries.kind == "ivf":
            return int(self._vectors.nlist)
        return _MOST_CANDIDATES if self._entries.kind == "hnsw" else 0

    def search(self, vectors: NDArray[Any], k: int, effort: int | None = None) -> list[Found]:
        """[n, width] -> the k nearest of each, the nearest first; fewer where a search of this effort meets no more.

        Distances are Euclidean, or 1 - cosine.
        """
        how = self._how(_faiss(), self._entries.effort if effort is None else effort)
        return self._search(self._vectors, vectors, k, how)

    def search_all(self, vectors: NDArray[Any], k: int) -> list[Found]:
        """The same, but every vector is looked at, which no effort promises of an hnsw index."""
        if self._entries.kind == "hnsw":
            return self._search(self._vectors.storage, vectors, k, None)
        return self.search(vectors, k, self.most_effort)

    def add(self, vectors: NDArray[Any], ids: Sequence[str], labels: Sequence[str | None]) -> "FaissIndex":
        """The index with [n, width] more, this one being used up.

        Raises:
            BundleError: an id that is there already.
        """
        check_new(ids, self._entries.ids)
        _faiss().omp_set_num_threads(1)  # of several, an hnsw index would never come out the same
        self._vectors.add(_as_measured(vectors, self._entries.metric))
        entries = self._entries
        return FaissIndex(
            replace(entries, ids=(*entries.ids, *ids), labels=(*entries.labels, *labels)),
            self._vectors,
        )

    def with_effort(self, effort: int) -> "FaissIndex":
        """The same, where a search that says nothing takes so much effort."""
        return FaissIndex(replace(self._entries, effort=effort), self._vectors)

    def save(self, folder: Path) -> None:
        _faiss().write_index(self._vectors, str(folder / INDEX_FILE))
        (folder / ENTRIES_FILE).write_bytes(self._entries.to_json())

    def _search(self, where: Any, vectors: NDArray[Any], k: int, how: Any) -> list[Found]:
        _faiss().omp_set_num_threads(1)
        asked = _as_measured(vectors, self._entries.metric)
        k = min(k, len(self._entries.ids))
        found = []
        for start in range(0, len(asked), _TOGETHER):
            raw, places = where.search(asked[start : start + _TOGETHER], k, params=how)
            found += [self._found(*row) for row in zip(raw.astype(np.float64), places, strict=True)]
        return found

    def _how(self, faiss: Any, effort: int) -> Any:
        if self._entries.kind == "ivf":
            return faiss.SearchParametersIVF(nprobe=effort)
        return faiss.SearchParametersHNSW(efSearch=effort) if self._entries.kind == "hnsw" else None

    def _found(self, raw: NDArray[np.float64], places: NDArray[np.int64]) -> Found:
        met = places >= 0
        raw, places = raw[met], places[met]
        # rounding leaves a vector's distance to itself a little below nothing
        distances = np.sqrt(np.maximum(raw, 0)) if self._entries.metric == "l2" else np.maximum(1 - raw, 0)
        order = np.lexsort((places, distances))
        return Found(distances[order], places[order])


def make_index(
    vectors: NDArray[Any],
    ids: Sequence[str],
    labels: Sequence[str | None],
    *,
    kind: Kind,
    metric: Metric,
    threads: int = 1,
) -> FaissIndex:
    """An index of [n, width]; the same vectors make the same one on one machine.

    Args:
        threads: what is learned of the vectors for an ivf index is learned with so many.

    Raises:
        BundleError: an id twice.
    """
    check_new(ids)
    faiss = _faiss()
    faiss.omp_set_num_threads(threads)
    ready = _as_measured(vectors, metric)
    count, width = ready.shape
    lists = max(1, min(round(4 * math.sqrt(count)), count // _LEAST_IN_LIST))  # faiss's own advice below a million
    recipe = {"flat": "Flat", "ivf": f"IVF{lists},Flat", "hnsw": f"HNSW{_LINKS},Flat"}[kind]
    made = faiss.index_factory(width, recipe, faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT)
    made.train(ready)
    entries = Entries(kind=kind, metric=metric, width=width, effort=int(kind != "flat"), ids=(), labels=())
    return FaissIndex(entries, made).add(ready, ids, labels)


def open_index(folder: Path, width: int) -> FaissIndex:
    """The index in a stage's folder, whose files' digests were checked.

    Args:
        width: of the embeddings that will be looked for.

    Raises:
        BundleError: faiss is not installed, the files are no index of a known kind, do not belong together, or its
            vectors have another width.
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
    except RuntimeError as exc:
        reason = str(exc).strip().splitlines()[-1][-200:]
        raise BundleError(f"{INDEX_FILE} cannot be read ({reason}): build the index again") from exc
    metric = faiss.METRIC_L2 if entries.metric == "l2" else faiss.METRIC_INNER_PRODUCT
    if (vectors.d, vectors.ntotal, vectors.metric_type) != (width, len(entries.ids), metric):
        raise BundleError(
            f"{INDEX_FILE} holds {vectors.ntotal} vectors of {vectors.d} numbers, {ENTRIES_FILE} tells of "
            f"{len(entries.ids)} of {width}, or they are measured otherwise: build the index again"
        )
    return FaissIndex(entries, vectors)


def reply(request: Request) -> list[dict[str, object]]:
    """The last shard's embedding -> one prediction an instance.

    Parameters: "k", how many neighbours, 1 to 1000, 5 if not given, never more than the index has; "nprobe", how many
    lists of an ivf index are looked through; "efSearch", how many candidates a search of an hnsw index keeps.

    Returns:
        [{"pred": label, "dist": [float × k], "ids": [str × k], "labels": [str × k]}]: the nearest first; `pred` is what
        most of them are called, of equally many the one that comes first; null where no neighbour has a label.

    Raises:
        RequestError: an unknown parameter, or one out of range or of another kind of index.
        BundleError: the model has no such output, or the bundle no index.
        ShardlineError: NaN or infinity in an embedding.
    """
    if request.index is None:
        raise BundleError("the bundle has no index: make one by `shardline index build`")
    entries = request.index.entries
    check_names(request.parameters, PARAMETERS)
    k = _whole(request.parameters, "k", MOST_K) or K
    effort = _effort(request.parameters, entries.kind, request.index.most_effort)
    vectors = embeddings(request.outputs)
    return [_prediction(found, entries) for found in request.index.search(vectors, k, effort)]


def answers(outputs: Outputs) -> None:
    """Embeddings alone answer nothing: chains are compared by how far they move."""


def comparable(outputs: Outputs) -> Outputs:
    """Embeddings move as the model does."""
    return outputs


def embeddings(outputs: Outputs) -> Vectors:
    """The first output that is floating point and of shape [batch, width].

    Raises:
        BundleError: there is none.
        ShardlineError: NaN or infinity in it.
    """
    for array in outputs.values():
        if array.ndim == 2 and array.shape[1] > 0 and array.dtype.kind == "f":
            return _finite(array.astype(np.float32))
    found = ", ".join(f"{name} {array.dtype}{list(array.shape)}" for name, array in outputs.items())
    raise BundleError(
        f"the model's outputs are {found or 'none'}; retrieve needs float [batch, width]: build with another task"
    )


def _finite(vectors: Vectors) -> Vectors:
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if broken.size:
        raise ShardlineError(
            f"the model gave NaN or infinity for instance {broken[0]}: its weights or its precision are at fault"
        )
    return vectors


def _effort(parameters: Mapping[str, object], kind: Kind, most: int) -> int | None:
    """
    Raises:
        RequestError: one of another kind of index, or out of range.
    """
    own = EFFORTS.get(kind)
    for name in EFFORTS.values():
        if name in parameters and name != own:
            takes = f"takes {own}" if own else "looks at every vector"
            raise RequestError(f"parameter {name} is not for this bundle's index, which is {kind} and {takes}")
    return _whole(parameters, own, most) if own else None


def _whole(parameters: Mapping[str, object], name: str, most: int) -> int | None:
    value = parameters.get(name)
    if name not in parameters:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise RequestError(f"parameter {name} is {str(value)[:40]!r}; allowed: a whole number from 1 to {most}")
    return value


def _prediction(found: Found, entries: Entries) -> dict[str, object]:
    places = found.places.tolist()
    labels = [entries.labels[place] for place in places]
    return {
        "pred": vote(labels),
        "dist": [round(distance, _DECIMALS) for distance in found.distances.tolist()],
        "ids": [entries.ids[place] for place in places],
        "labels": labels,
    }


def _as_measured(vectors: NDArray[Any], metric: Metric) -> Vectors:
    """As faiss takes them; of length 1 where angles count. One of nothing but zeros stays so: it is like none."""
    ready = np.ascontiguousarray(vectors, np.float32)
    if metric == "l2":
        return ready
    lengths = np.linalg.norm(ready.astype(np.float64), axis=1, keepdims=True)
    return (ready / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)


def _faiss() -> Any:
    """
    Raises:
        BundleError: it is not installed.
    """
    try:
        import faiss  # only bundles with an index need it
    except ImportError as exc:
        raise BundleError(f"an index needs faiss ({exc}): pip install 'shardline[retrieval]'") from exc
    return faiss
