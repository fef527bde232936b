"""Classification: logits -> the classes with the highest scores."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shardline.tasks.request import Options, Outputs, Request, check_names, float_matrix, whole_number

PARAMETERS = frozenset({"top"})
TOP = 5  # classes in a reply by default


def reply(request: Request) -> list[dict[str, object]]:
    """Build one prediction for each instance from the last shard's outputs.

    The logits are the first output that is floating point and of shape [batch, classes]; all others (auxiliary heads,
    features) are ignored. Classes after the last label are called "class 17" and so on. Parameters: "top", the number
    of classes in each prediction, from 1; 5 by default, never more than there are.

    Args:
        request: outputs of the model, one of them float [batch, classes].

    Returns:
        [{"label": str, "index": int, "score": float, "top": [{"label", "index", "score"} × top]}]: softmax scores in
        float64, highest score first; of equal logits the lower index comes first.

    Raises:
        RequestError: an unknown parameter, or a "top" that is not a whole number from 1.
        BundleError: the model has no such output.
        ShardlineError: NaN or infinity among the logits.
    """
    check_names(request.parameters, PARAMETERS)
    count = whole_number(request.parameters, "top") or TOP
    logits = float_matrix(request.outputs, np.float64, "classify", "classes")
    return [_prediction(row, count, request.labels) for row in logits]


def answers(outputs: Outputs, _: Options) -> Sequence[int] | None:
    """The top class of each instance, if the first output is [batch, classes]."""
    first = next(iter(outputs.values()))
    return first.argmax(1).tolist() if first.ndim == 2 else None


def comparable(outputs: Outputs, _: Options) -> Outputs:
    """The outputs themselves, [batch, classes]: logits change little where the model's outputs do."""
    return outputs


def _prediction(logits: NDArray[np.float64], count: int, labels: tuple[str, ...]) -> dict[str, object]:
    scores = _softmax(logits)
    # sorted by logits, not by scores: far below the first, different logits have the same score of 0
    order = np.argsort(-logits, kind="stable")[:count]
    top = [{"label": _label(labels, index), "index": index, "score": float(scores[index])} for index in order.tolist()]
    return {**top[0], "top": top}


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):  # logits 1e308 apart: exp(-inf) is 0, as it should be
        powers = np.exp(logits - logits.max())
    result: NDArray[np.float64] = powers / powers.sum()
    return result


def _label(labels: tuple[str, ...], index: int) -> str:
    return labels[index] if index < len(labels) else f"class {index}"
