"""Compare the reply of a served chain with the golden reply, which the whole model gave when the bundle was built.

Portable shards in fp32 reply exactly as the whole model does on the same kind of CPU. For rounded and compiled shards
the bundle states a tolerance, which is allowed here.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from shardline.storage.bundle import Bundle
from shardline.wire.errors import ClusterError

# Another CPU, GPU or number of threads changes the last digits of scores; a wrong shard changes far more.
TOLERANCE = 1e-3
# A difference of this many pixels, or degrees, counts as much as 1 of a score: boxes are rounded to a decimal, which
# changes them by more than a score.
_PIXELS = 1000.0
_POSITIONS = frozenset({"board_center_p", "width", "height", "angle", "box", "quad"})
# The classes after the best one, and the neighbours after the nearest one.
_RANK = re.compile(r"\.top\[[1-9]\d*\]\.(label|index)$|\.(ids|labels)\[[1-9]\d*\]$")
# A softmax changes by at most half of the change of the largest logit, which is rarely above 20.
_SCORES_PER_ERROR = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyAgreement:
    """Agreement of two replies: the largest absolute difference of their numbers; 0 means equal to the last digit."""

    max_abs_difference: float
    allowed: float = TOLERANCE

    def __str__(self) -> str:
        if self.max_abs_difference == 0:
            return "equal to the whole model's reply, to the last digit"
        return f"equal to the whole model's reply within {self.max_abs_difference:.2g} ({self.allowed:.2g} is allowed)"


def score_tolerance(bundle: Bundle) -> float:
    """Compute the tolerance for scores of a chain of this bundle, with either of its programs."""
    tolerances = (bundle.portable_tolerance, bundle.compiled_tolerance)
    stated = [tolerance.max_relative_error for tolerance in tolerances if tolerance]
    return min(1.0, max([TOLERANCE, *(_SCORES_PER_ERROR * error for error in stated)]))


def compare(found: object, expected: object, tolerance: float = TOLERANCE) -> ReplyAgreement:
    """Compare two replies as parsed JSON: text, integers and lengths must be equal, floats within `tolerance`.

    Positions of plates may differ by a thousand times as many pixels. If `tolerance` is above `TOLERANCE`, the order of
    classes after the best one may differ, and that of neighbours after the nearest one.

    Raises:
        ClusterError: they differ; the message has the first difference.
    """
    largest = 0.0
    replies = _without_card(found), _without_card(expected)
    for where, difference in _differences(*replies, "reply", ranks_move=tolerance > TOLERANCE):
        if not difference <= tolerance:
            raise ClusterError(
                f"the chain's reply to the golden picture differs from the whole model's: {where}: check that the "
                "bundle that was pushed is the one that was built"
            )
        largest = max(largest, difference)
    return ReplyAgreement(max_abs_difference=largest, allowed=tolerance)


def _without_card(reply: object) -> object:
    """The reply without its model card, which older bundles and servers do not have."""
    return {key: value for key, value in reply.items() if key != "model"} if isinstance(reply, dict) else reply


def _differences(
    found: object, expected: object, where: str, *, ranks_move: bool = False
) -> Iterator[tuple[str, float]]:
    """Yield the difference of each pair of leaves; infinity if they differ but are not both floats."""
    if ranks_move and _RANK.search(where):
        return
    if isinstance(found, dict) and isinstance(expected, dict) and found.keys() == expected.keys():
        for key in expected:
            share = 1 / _unit(key, expected[key])
            for what, difference in _differences(found[key], expected[key], f"{where}.{key}", ranks_move=ranks_move):
                yield what, difference * share
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        for index, (item, wanted) in enumerate(zip(found, expected, strict=True)):
            yield from _differences(item, wanted, f"{where}[{index}]", ranks_move=ranks_move)
    elif isinstance(found, float) and isinstance(expected, float):
        yield f"{where} is {found}, expected {expected}", abs(found - expected)
    else:
        same = type(found) is type(expected) and found == expected
        yield f"{where} is {_short(found)}, expected {_short(expected)}", 0.0 if same else math.inf


def _unit(key: str, expected: object) -> float:
    """Find the difference that counts as much as 1 of a score; distances grow with the length of the embeddings."""
    if key == "dist" and isinstance(expected, list):
        return max([1.0, *(distance for distance in expected if isinstance(distance, float))])
    return _PIXELS if key in _POSITIONS else 1.0


def _short(value: object) -> str:
    return repr(value)[:80]
