"""Classification: logits or probabilities -> the classes with the highest scores."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from shardline.tasks.request import Options, Outputs, Request, check_names, float_matrix, whole_number
from shardline.wire.errors import BundleError

PARAMETERS = frozenset({"top"})
TOP = 5  # classes in a reply by default


def reply(request: Request) -> list[dict[str, object]]:
    """Build one prediction for each instance from the last shard's outputs.

    The first output that is floating point and of shape [batch, classes] is read; all others (auxiliary heads,
    features) are ignored. The option "scores" says what it holds: "logits" (the default), of which softmax is taken;
    "probabilities", which are the scores; or "sigmoid", logits of independent labels. Classes after the last label are
    called "class 17" and so on. Parameters: "top", the number of classes in each prediction, from 1; 5 by default,
    never more than there are.

    Args:
        request: outputs of the model, one of them float [batch, classes].

    Returns:
        [{"label": str, "index": int, "score": float, "top": [{"label", "index", "score"} × top]}]: scores in float64,
        highest score first; of equal outputs the lower index comes first.

    Raises:
        RequestError: an unknown parameter, or a "top" that is not a whole number from 1.
        BundleError: the model has no such output.
        ShardlineError: NaN or infinity among the outputs.
    """
    check_names(request.parameters, PARAMETERS)
    count = whole_number(request.parameters, "top") or TOP
    scores = SCORES[str(request.options.get("scores", "logits"))]
    rows = float_matrix(request.outputs, np.float64, "classify", "classes")
    return [_prediction(row, scores(row), count, request.labels) for row in rows]


def check_options(options: Options) -> None:
    """Check the options of a bundle's task: "scores" alone.

    Raises:
        BundleError: an unknown option or value.
    """
    unknown = options.keys() - {"scores"}
    if unknown or options.get("scores", "logits") not in SCORES:
        found = ", ".join(f"{name}={value}" for name, value in options.items())
        raise BundleError(f"the options of classify are {found}; allowed is scores, one of {', '.join(SCORES)}")


def answers(outputs: Outputs, _: Options) -> Sequence[int] | None:
    """The top class of each instance, if the first output is [batch, classes]."""
    first = next(iter(outputs.values()))
    return first.argmax(1).tolist() if first.ndim == 2 else None


def comparable(outputs: Outputs, _: Options) -> Outputs:
    """The outputs themselves, [batch, classes]: logits change little where the model's outputs do."""
    return outputs


def _prediction(
    row: NDArray[np.float64], scores: NDArray[np.float64], count: int, labels: tuple[str, ...]
) -> dict[str, object]:
    # sorted by outputs, not by scores: far below the first, different logits have the same score of 0
    order = np.argsort(-row, kind="stable")[:count]
    top = [{"label": _label(labels, index), "index": index, "score": float(scores[index])} for index in order.tolist()]
    return {**top[0], "top": top}


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):  # logits 1e308 apart: exp(-inf) is 0, as it should be
        powers = np.exp(logits - logits.max())
    result: NDArray[np.float64] = powers / powers.sum()
    return result


def _sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = np.exp(-np.logaddexp(0, -logits))  # no overflow for logits far below 0
    return result


def _unchanged(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    return probabilities


def _label(labels: tuple[str, ...], index: int) -> str:
    return labels[index] if index < len(labels) else f"class {index}"


SCORES: Mapping[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "logits": _softmax,
    "probabilities": _unchanged,
    "sigmoid": _sigmoid,
}
