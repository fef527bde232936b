"""What a pipeline should do, from what its parts cost: the line that is drawn beside what was measured. Pure.

    latency      what the whole takes alone, and a hop for each cut
    throughput   the least of three:
                 - the slowest stage, where each has a machine of its own: stages work at the same time
                 - the machine, where all of them share its C cores: C over the processor time of a request
                 - the clients: each waits for its answer, so N of them ask N / latency times (Little). With fewer
                   clients than stages some stage is idle: the bubble.

A hop costs a fixed time and a time for each MiB that crosses: the next stage's server and the router's way to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.figures import Spread, spread
from benchmarks.systems.base import LoadSample

_MIB = 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class CostLine:
    """A cost that grows with what crosses."""

    fixed_ms: float
    per_mib_ms: float

    def at(self, size_bytes: float) -> float:
        return self.fixed_ms + self.per_mib_ms * size_bytes / _MIB

    @classmethod
    def through(cls, small: tuple[float, float], large: tuple[float, float]) -> "CostLine":
        """Through two points of (bytes, ms), with neither number below 0."""
        slope = max(0.0, (large[1] - small[1]) / (large[0] - small[0]) * _MIB)
        return cls(fixed_ms=max(0.0, small[1] - slope * small[0] / _MIB), per_mib_ms=slope)

    def __add__(self, other: "CostLine") -> "CostLine":
        return CostLine(fixed_ms=self.fixed_ms + other.fixed_ms, per_mib_ms=self.per_mib_ms + other.per_mib_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainCosts:
    """What was measured apart from the chain that is predicted.

    Attributes:
        whole_ms: one client's latency at K=1, everything around the model included.
        whole_cpu_ms: processor time of a request there, all processes together.
        hop: wall time of a hop; `hop_cpu`: its processor time.
        cores: of the machine.
    """

    whole_ms: float
    whole_cpu_ms: float
    hop: CostLine
    hop_cpu: CostLine
    cores: int

    def latency_ms(self, cuts_bytes: Sequence[float]) -> float:
        """One client, nobody else."""
        return self.whole_ms + sum(map(self.hop.at, cuts_bytes))

    def cpu_ms(self, cuts_bytes: Sequence[float]) -> float:
        return self.whole_cpu_ms + sum(map(self.hop_cpu.at, cuts_bytes))

    def throughput_rps(self, cuts_bytes: Sequence[float], clients: int) -> float:
        """All stages on this machine."""
        machine = 1000 * self.cores / self.cpu_ms(cuts_bytes)
        return min(machine, 1000 * clients / self.latency_ms(cuts_bytes))

    def apart_rps(self, stages_ms: Sequence[float], cuts_bytes: Sequence[float], replicas: Sequence[int] = ()) -> float:
        """Each stage on a machine like this one: the slowest sets the pace, with the hop into it.

        Args:
            stages_ms: what each stage takes for one request, the first with the transformer.
            replicas: of each stage; 1 where nothing is said.
        """
        hops_ms = [0.0, *map(self.hop.at, cuts_bytes)]
        counts = [*replicas, *[1] * (len(stages_ms) - len(replicas))]
        return 1000 / max((ms + hop) / n for ms, hop, n in zip(stages_ms, hops_ms, counts, strict=True))


def loaded_latency_ms(clients: int, rps: float) -> float:
    """Little's law: so many at once, at this rate, take so long."""
    return 1000 * clients / rps


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowthPoint:
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
        many: Sequence[LoadSample],
        alone: Sequence[LoadSample],
        *,
        rps: float,
        ms: float,
        apart_rps: float | None = None,
    ) -> "GrowthPoint":
        """Throughput from the samples of `many` clients, latency from those of one."""
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
    logarithmic: bool = False  # the x axis, by powers of two

    def off(self) -> dict[str, float]:
        """Measured over predicted, the median of the points."""
        return {
            "rps_over_predicted": round(median(each.rps.median / each.predicted_rps for each in self.points), 3),
            "p50_over_predicted": round(median(each.p50_ms.median / each.predicted_ms for each in self.points), 3),
        }
