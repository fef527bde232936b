"""Does a served chain reply as the model did when the bundle was built?

Portable shards in fp32 reply as the whole does, to the last digit on the builder's kind of CPU. Of rounded and compiled
ones the bundle says how far they may be off, and that is what is allowed here.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from shardline.storage.bundle import Bundle
from shardline.wire.errors import ClusterError

# Another CPU, GPU or number of threads moves scores in their last digits; a wrong shard is far off.
TOLERANCE = 1e-3
# A place counts as much as a score where it is off by this many pixels, or degrees: a box is told to a decimal, and
# rounding moves it by more than it moves a score.
_PIXELS = 1000.0
_PLACES = frozenset({"board_center_p", "width", "height", "angle", "box", "quad"})
# Behind the first: what the classes are that follow, and which pictures are near, too.
_RANK = re.compile(r"\.top\[[1-9]\d*\]\.(label|index)$|\.(ids|labels)\[[1-9]\d*\]$")
# A softmax moves by at most half of what the largest logit moves by, and that is seldom over 20.
_SCORES_PER_ERROR = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyAgreement:
    """`max_abs_difference` is over all numbers in the two replies; 0 means equal to the last digit."""

    max_abs_difference: float
    allowed: float = TOLERANCE

    def __str__(self) -> str:
        if self.max_abs_difference == 0:
            return "equal to the whole model's reply, to the last digit"
        return f"as the whole model's reply within {self.max_abs_difference:.2g}, {self.allowed:.2g} is allowed"


def score_tolerance(bundle: Bundle) -> float:
    """How far a score of a chain of this bundle may be from the golden reply's: whichever of its programs serves."""
    stated = [each.max_relative_error for each in (bundle.portable_tolerance, bundle.compiled_tolerance) if each]
    return min(1.0, max([TOLERANCE, *(_SCORES_PER_ERROR * error for error in stated)]))


def compare(found: object, expected: object, tolerance: float = TOLERANCE) -> ReplyAgreement:
    """Two replies as parsed JSON: texts, whole numbers and lengths must be equal, fractions within `tolerance`.

    Places of plates are within a thousand times as many pixels.

    Where more than `TOLERANCE` is allowed, classes as near to each other may change places behind the first, and so may
    neighbours.

    Raises:
        ClusterError: they differ, with the first place where they do.
    """
    largest = 0.0
    for where, difference in _differences(found, expected, "reply", ranks_move=tolerance > TOLERANCE):
        if not difference <= tolerance:
            raise ClusterError(
                f"the chain does not reply to the golden picture as the whole model did: {where}: is the bundle that "
                "was built the one that is served?"
            )
        largest = max(largest, difference)
    return ReplyAgreement(max_abs_difference=largest, allowed=tolerance)


def _differences(
    found: object, expected: object, where: str, *, ranks_move: bool = False
) -> Iterator[tuple[str, float]]:
    """Each pair of leaves, by how much it differs; infinity where it is not by a number."""
    if ranks_move and _RANK.search(where):
        return
    if isinstance(found, dict) and isinstance(expected, dict) and found.keys() == expected.keys():
        for key in expected:
            share = 1 / _unit(key, expected[key])
            for what, difference in _differences(found[key], expected[key], f"{where}.{key}", ranks_move=ranks_move):
                yield what, difference * share
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        for index, (one, other) in enumerate(zip(found, expected, strict=True)):
            yield from _differences(one, other, f"{where}[{index}]", ranks_move=ranks_move)
    elif isinstance(found, float) and isinstance(expected, float):
        yield f"{where} is {found}, expected {expected}", abs(found - expected)
    else:
        same = type(found) is type(expected) and found == expected
        yield f"{where} is {_short(found)}, expected {_short(expected)}", 0.0 if same else math.inf


def _unit(key: str, expected: object) -> float:
    """What counts as much as 1 of a score: a distance is as long as the embeddings are."""
    if key == "dist" and isinstance(expected, list):
        return max([1.0, *(each for each in expected if isinstance(each, float))])
    return _PIXELS if key in _PLACES else 1.0


def _short(value: object) -> str:
    return repr(value)[:80]
