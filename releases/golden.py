"""Does a served chain reply as the whole model did when the bundle was built?"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from wire.errors import ClusterError

# Another CPU, GPU or number of threads moves scores in their last digits; a wrong shard is far off.
TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """`max_abs_difference` is over all numbers in the two replies; 0 means equal to the last digit."""

    max_abs_difference: float

    def __str__(self) -> str:
        if self.max_abs_difference == 0:
            return "equal to the whole model's reply, to the last digit"
        return f"as the whole model's reply within {self.max_abs_difference:.2g}"


def compare(found: object, expected: object, tolerance: float = TOLERANCE) -> Agreement:
    """Two replies as parsed JSON: texts, whole numbers and lengths must be equal, fractions within `tolerance`.

    Raises:
        ClusterError: they differ, with the first place where they do.
    """
    largest = 0.0
    for where, difference in _differences(found, expected, "reply"):
        if not difference <= tolerance:
            raise ClusterError(
                f"the chain does not reply to the golden picture as the whole model did: {where}: is the bundle that "
                "was built the one that is served?"
            )
        largest = max(largest, difference)
    return Agreement(max_abs_difference=largest)


def _differences(found: object, expected: object, where: str) -> Iterator[tuple[str, float]]:
    """Each pair of leaves, by how much it differs; infinity where it is not by a number."""
    if isinstance(found, dict) and isinstance(expected, dict) and found.keys() == expected.keys():
        for key in expected:
            yield from _differences(found[key], expected[key], f"{where}.{key}")
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        for index, (one, other) in enumerate(zip(found, expected, strict=True)):
            yield from _differences(one, other, f"{where}[{index}]")
    elif isinstance(found, float) and isinstance(expected, float):
        yield f"{where} is {found}, expected {expected}", abs(found - expected)
    else:
        same = type(found) is type(expected) and found == expected
        yield f"{where} is {_short(found)}, expected {_short(expected)}", 0.0 if same else math.inf


def _short(value: object) -> str:
    return repr(value)[:80]
