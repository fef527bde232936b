"""Retrieval: the last shard's embedding -> the nearest pictures in the bundle's index, and their majority label."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from shardline.tasks.index import EFFORTS, Entries, IndexKind, Neighbours
from shardline.tasks.request import Options, Outputs, Request, check_names, float_matrix, whole_number
from shardline.wire.errors import BundleError, RequestError

PARAMETERS = frozenset({"k", "nprobe", "efSearch"})
K = 5  # neighbours in a reply by default
MOST_K = 1000

_DECIMALS = 6


def reply(request: Request) -> list[dict[str, object]]:
    """Build one prediction for each instance from the last shard's embeddings.

    Parameters: "k", the number of neighbours, 1 to 1000, 5 by default, never more than the index has; "nprobe", the
    number of lists of an ivf index that are searched; "efSearch", the number of candidates that a search of an hnsw
    index keeps.

    Args:
        request: its first output of shape float [batch, width] is the embedding.

    Returns:
        [{"pred": label, "dist": [float × k], "ids": [str × k], "labels": [str × k]}]: nearest first; `pred` is the
        label that most neighbours have, the nearest one's where several are equally frequent; null without labels.

    Raises:
        RequestError: an unknown parameter, or one out of range or of another kind of index.
        BundleError: the model has no such output, or the bundle has no index.
        ShardlineError: NaN or infinity in an embedding.
    """
    if request.index is None:
        raise BundleError("the bundle has no index: make one by `shardline index build`")
    entries = request.index.entries
    check_names(request.parameters, PARAMETERS)
    k = whole_number(request.parameters, "k", MOST_K) or K
    effort = _effort(request.parameters, entries.kind, request.index.most_effort)
    vectors = embeddings(request.outputs)
    return [_prediction(found, entries) for found in request.index.search(vectors, k, effort)]


def answers(outputs: Outputs, _: Options) -> None:
    """None: embeddings alone name no answer, so chains are compared by their outputs, [batch, width]."""


def comparable(outputs: Outputs, _: Options) -> Outputs:
    """The outputs themselves, [batch, width]: embeddings change little where the model's outputs do."""
    return outputs


def embeddings(outputs: Outputs) -> NDArray[np.float32]:
    """Select the embeddings, float32 [batch, width]: the first output that is floating point and of two dimensions.

    Raises:
        BundleError: there is none.
        ShardlineError: NaN or infinity among them.
    """
    return float_matrix(outputs, np.float32, "retrieve", "width")


def _effort(parameters: Mapping[str, object], kind: IndexKind, most: int) -> int | None:
    """The effort that a request asks for, by the one parameter that its kind of index has.

    Raises:
        RequestError: the parameter of another kind of index, or out of range.
    """
    own = EFFORTS.get(kind)
    for name in EFFORTS.values():
        if name in parameters and name != own:
            takes = f"takes {own}" if own else "compares with every vector"
            raise RequestError(f"parameter {name} is not for this bundle's index, which is {kind} and {takes}")
    return whole_number(parameters, own, most) if own else None


def _prediction(found: Neighbours, entries: Entries) -> dict[str, object]:
    positions = found.positions.tolist()
    labels = [entries.labels[position] for position in positions]
    return {
        "pred": vote(labels),
        "dist": [round(distance, _DECIMALS) for distance in found.distances.tolist()],
        "ids": [entries.ids[position] for position in positions],
        "labels": labels,
    }


def vote(labels: Sequence[str | None]) -> str | None:
    """The label that most neighbours have, given nearest first; of equally frequent ones the nearest neighbour's."""
    named = [label for label in labels if label is not None]
    return max(dict.fromkeys(named), key=named.count, default=None)
