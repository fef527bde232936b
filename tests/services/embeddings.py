"""Similarity indexes for tests: embeddings around ten centres, and an index of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardline.tasks.faiss_index import FaissIndex, make_index
from shardline.tasks.index import Index, IndexKind, Metric
from shardline.tasks.request import Request
from shardline.tasks.retrieve import reply as reply_to

WIDTH = 16


def names(count: int) -> list[str]:
    return [f"picture {number}" for number in range(count)]


def vectors(count: int, seed: int = 0, width: int = WIDTH) -> NDArray[np.float32]:
    """Embeddings around ten centres, float32 [count, width]."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(1).normal(size=(10, width))
    return (centres[random.integers(0, 10, count)] + 0.3 * random.normal(size=(count, width))).astype(np.float32)


def index_of(
    count: int, kind: IndexKind = "flat", metric: Metric = "cosine", labels: Sequence[str | None] = ()
) -> FaissIndex:
    return make_index(
        vectors(count), names(count), labels or [str(number % 3) for number in range(count)], kind=kind, metric=metric
    )


def reply(embedding: NDArray[Any], index: Index | None, **parameters: Any) -> list[Any]:
    return reply_to(Request(outputs={"embedding": embedding}, parameters=parameters, index=index))
