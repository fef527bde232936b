"""How many of some things were right, and between which shares that may lie."""

from dataclasses import dataclass

from scipy.stats import binomtest

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How many of `count` things were right, with Wilson's 95 % interval; None where there are no things."""

    name: str
    count: int
    right: int
    share: float | None
    low: float | None
    high: float | None


def share(name: str, right: int, count: int) -> Share:
    if not count:
        return Share(name=name, count=0, right=0, share=None, low=None, high=None)
    interval = binomtest(right, count).proportion_ci(CONFIDENCE, method="wilson")
    return Share(
        name=name,
        count=count,
        right=right,
        share=right / count,
        low=float(interval.low),
        high=float(interval.high),
    )
