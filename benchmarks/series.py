"""Points of a growth plot: what was measured, from the least to the most of the rounds, and what was predicted."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.figures import Spread, spread
from benchmarks.systems.base import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """`apart_rps` is what stages with a machine each should do; None where that is no question."""

    x: int
    rps: Spread
    p50_ms: Spread
    predicted_rps: float
    predicted_ms: float
    apart_rps: float | None = None

    @classmethod
    def of(
        cls,
        x: int,
        many: Sequence[Sample],
        alone: Sequence[Sample],
        *,
        rps: float,
        ms: float,
        apart_rps: float | None = None,
    ) -> "Point":
        """Throughput from the samples of `many` clients, latency from those of one."""
        rates = spread(sample.rps for sample in many)
        times = spread(sample.p50_ms for sample in alone if sample.p50_ms is not None)
        assert rates is not None
        assert times is not None
        return cls(x=x, rps=rates, p50_ms=times, predicted_rps=rps, predicted_ms=ms, apart_rps=apart_rps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    name: str
    label: str
    points: tuple[Point, ...]
    logarithmic: bool = False  # the x axis, by powers of two

    def off(self) -> dict[str, float]:
        """Measured over predicted, the median of the points."""
        return {
            "rps_over_predicted": round(median(each.rps.median / each.predicted_rps for each in self.points), 3),
            "p50_over_predicted": round(median(each.p50_ms.median / each.predicted_ms for each in self.points), 3),
        }
