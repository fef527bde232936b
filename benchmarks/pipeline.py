"""Prediction of a pipeline's throughput and latency from the costs of its parts, and points of a growth plot. Pure.

    latency      time of the whole, plus one hop for each cut
    throughput   the least of three limits:
                 - the slowest stage, where each has a machine of its own: stages work at the same time
                 - the machine, where all stages share its C cores: C / processor time of a request
                 - the clients: each waits for its reply, so that N of them send N / latency requests per second
                   (Little's law). With fewer clients than stages, some stage is idle: the pipeline bubble.

A hop has a fixed time and a time per transferred MiB: the server of the next stage and the router's step to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.figures import Spread, spread
from benchmarks.systems.base import LoadSample
from shardline.wire.limits import MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class CostLine:
    """A cost that is linear in the number of transferred bytes."""

    fixed_ms: float
    per_mib_ms: float

    def at(self, size_bytes: float) -> float:
        return self.fixed_ms + self.per_mib_ms * size_bytes / MIB

    @classmethod
    def through(cls, small: tuple[float, float], large: tuple[float, float]) -> "CostLine":
        """The line through two points of (bytes, ms), with no coefficient below 0."""
        slope = max(0.0, (large[1] - small[1]) / (large[0] - small[0]) * MIB)
        return cls(fixed_ms=max(0.0, small[1] - slope * small[0] / MIB), per_mib_ms=slope)

    def __add__(self, other: "CostLine") -> "CostLine":
        return CostLine(fixed_ms=self.fixed_ms + other.fixed_ms, per_mib_ms=self.per_mib_ms + other.per_mib_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainCosts:
    """Costs that are measured separately from the predicted chain.

    Attributes:
        whole_ms: latency at K=1 with one client, everything around the model included.
        whole_cpu_ms: processor time of such a request, in all processes together.
        hop: wall time of a hop.
        hop_cpu: processor time of a hop.
        cores: number of the machine's cores.
    """

    whole_ms: float
    whole_cpu_ms: float
    hop: CostLine
    hop_cpu: CostLine
    cores: int

    def latency_ms(self, cuts_bytes: Sequence[float]) -> float:
        """Latency with one client."""
        return self.whole_ms + sum(map(self.hop.at, cuts_bytes))

    def cpu_ms(self, cuts_bytes: Sequence[float]) -> float:
        return self.whole_cpu_ms + sum(map(self.hop_cpu.at, cuts_bytes))

    def throughput_rps(self, cuts_bytes: Sequence[float], clients: int) -> float:
        """Throughput with all stages on this machine."""
        machine = 1000 * self.cores / self.cpu_ms(cuts_bytes)
        return min(machine, 1000 * clients / self.latency_ms(cuts_bytes))

    def apart_rps(self, stages_ms: Sequence[float], cuts_bytes: Sequence[float], replicas: Sequence[int] = ()) -> float:
        """Throughput with each stage on a machine like this one: that of the slowest stage and the hop to it.

        Args:
            stages_ms: time of each stage for one request, of the first one with the transformer.
            replicas: of each stage; 1 for stages that are not listed.
        """
        hops_ms = [0.0, *map(self.hop.at, cuts_bytes)]
        counts = [*replicas, *[1] * (len(stages_ms) - len(replicas))]
        return 1000 / max((ms + hop) / n for ms, hop, n in zip(stages_ms, hops_ms, counts, strict=True))


def loaded_latency_ms(clients: int, rps: float) -> float:
    """Latency by Little's law: clients / throughput."""
    return 1000 * clients / rps


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowthPoint:
    """A measured point and its prediction. `apart_rps` is predicted for stages with a machine each; None: not asked."""

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
        many: Sequence[LoadSample],
        alone: Sequence[LoadSample],
        *,
        rps: float,
        ms: float,
        apart_rps: float | None = None,
    ) -> "GrowthPoint":
        """Take throughput from the samples of `many` clients, latency from those of one client."""
        rates = spread(sample.rps for sample in many)
        times = spread(sample.p50_ms for sample in alone if sample.p50_ms is not None)
        assert rates is not None
        assert times is not None
        return cls(x=x, rps=rates, p50_ms=times, predicted_rps=rps, predicted_ms=ms, apart_rps=apart_rps)


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowthSeries:
    name: str
    label: str
    points: tuple[GrowthPoint, ...]
    logarithmic: bool = False  # x axis in powers of two

    def over_predicted(self) -> dict[str, float]:
        """Measured / predicted values, the median of the points."""
        return {
            "rps_over_predicted": round(median(point.rps.median / point.predicted_rps for point in self.points), 3),
            "p50_over_predicted": round(median(point.p50_ms.median / point.predicted_ms for point in self.points), 3),
        }
