"""How far a chain in a cluster is, as values with a line of text each."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PartState:
    """One Deployment: the router, or a stage's transformer or predictor. `problem` is "" when all of it is ready."""

    name: str
    ready: int
    wanted: int
    problem: str

    @property
    def serves(self) -> bool:
        """Whether at least one pod can answer. Knative wants none while nobody asks."""
        return self.ready > 0 or (self.wanted == 0 and not self.problem)

    def __str__(self) -> str:
        return f"{self.name} {self.ready}/{self.wanted}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageState:
    """One InferenceService. `problem` is what is wrong with it besides its parts.

    `index` is the stage's; None is a transformer that is a step of its own.
    """

    index: int | None
    service: str
    parts: tuple[PartState, ...] = ()
    problem: str = ""

    @property
    def ready(self) -> bool:
        return not self.problem and all(not part.problem for part in self.parts)

    @property
    def serves(self) -> bool:
        """Whether it can answer, though perhaps not with all its replicas."""
        return not self.problem and bool(self.parts) and all(part.serves for part in self.parts)

    def __str__(self) -> str:
        what = "transformer" if self.index is None else f"stage {self.index}"
        return f"{what} {self.service}: {_summary(self.parts, self.problem)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainState:
    """An InferenceGraph with all its stages, or one InferenceService, which has no router and no graph."""

    name: str
    namespace: str
    router: PartState | None = None
    problem: str = ""
    stages: tuple[StageState, ...] = ()

    @property
    def ready(self) -> bool:
        """All replicas of everything."""
        router = self.router is None or not self.router.problem
        return bool(self.stages) and not self.problem and router and all(stage.ready for stage in self.stages)

    @property
    def serves(self) -> bool:
        """Whether a request can be answered: at least one replica of everything."""
        router = self.router is None or self.router.serves
        return bool(self.stages) and not self.problem and router and all(stage.serves for stage in self.stages)

    def lines(self) -> list[str]:
        """One line for the graph, one for each stage."""
        graph = [f"graph {self.name}: {_summary((self.router,) if self.router else (), self.problem)}"]
        return (graph if self.router or self.problem else []) + [str(stage) for stage in self.stages]

    def waiting_for(self) -> str:
        """The first that is not ready, with its reason; "" if all is. A stage's reason comes before the graph's."""
        stages = [str(stage) for stage in self.stages if not stage.ready]
        graph_waits = self.problem or (self.router and self.router.problem)
        return (stages + (self.lines()[:1] if graph_waits else []) + [""])[0]


def _summary(parts: Sequence[PartState], problem: str) -> str:
    """ "ready (…)", or what is wrong with the first that is not, the spec's own fault before all others."""
    counts = ", ".join(map(str, parts))
    troubled = next((part for part in parts if part.problem), None)
    if problem:
        return f"{problem} ({counts})" if counts else problem
    return f"{troubled}: {troubled.problem}" if troubled else f"ready ({counts})"
