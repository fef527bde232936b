"""Throughput and latency of a chain as it grows, measured and predicted: `python -m benchmarks.growth [--quick]`.

What: ResNet-50 on this machine: throughput and latency against the number of stages, the largest batch of a stage, the
size of the pictures, the number of clients, and the replicas of the slowest stage. Each measured line is plotted with
the one that pipeline.py predicts from costs that are measured separately: the whole in process and at K=1, and a hop.

Why: a difference from the prediction shows where a chain is slower than it should be.

Ceiling: all stages share this machine's cores, so that K stages cannot do more than one; the dotted line predicts the
same stages with a machine each.

`make bench-growth` runs it, too. A plot for each series and one JSON file are written into benchmarks/results/. The
last line is one JSON object.
"""

import json
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from benchmarks.bundles import BundleSpec, ensure
from benchmarks.load import Load, LoadProcess
from benchmarks.micro import run_micro
from benchmarks.pictures import CheckedPictures, write_jpegs
from benchmarks.pipeline import ChainCosts, CostLine, GrowthPoint, GrowthSeries, loaded_latency_ms
from benchmarks.plots import plot_series
from benchmarks.processes import run_benchmark
from benchmarks.report import RESULTS, say, this_machine, versions
from benchmarks.systems.base import LoadSample
from benchmarks.systems.inprocess import InProcess
from benchmarks.systems.shardline import ShardlineChain
from shardline.storage.bundle import Bundle
from shardline.storage.bundle_folder import open_bundle

MANY = 8
_KIB = 1024
_QUEUE = 128  # longer than any load's number of clients, so that no request is refused


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowthScope:
    """Values of each series, number of rounds, and seconds of each load."""

    stages: tuple[int, ...] = (1, 2, 3, 4, 5, 6)
    batches: tuple[int, ...] = (1, 2, 4, 8)
    sizes: tuple[int, ...] = (160, 224, 288, 384)
    clients: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    replicas: tuple[int, ...] = (1, 2)
    rounds: int = 3
    seconds: float = 3.0


QUICK = GrowthScope(stages=(1, 2, 3), batches=(1, 8), sizes=(160, 224), clients=(1, 4, 16), rounds=1, seconds=2.0)


@dataclass(slots=True, kw_only=True)
class GrowthRun:
    """State of a run that all series share: the client, the pictures, and the chains started so far."""

    scope: GrowthScope
    folder: Path
    files: list[Path]
    client: LoadProcess
    compiled: bool
    model: str = "resnet50"
    started: int = 0
    known: dict[BundleSpec, CheckedPictures] = field(default_factory=dict)

    def spec(self, stages: int, size: int | None = None) -> BundleSpec:
        return BundleSpec(stages=stages, model=self.model, size=None if size == 224 else size, compiled=self.compiled)

    @contextmanager
    def chain(
        self,
        stages: int,
        size: int | None = None,
        *,
        arguments: Sequence[str] = (),
        replicas: dict[int, int] | None = None,
    ) -> Iterator[ShardlineChain]:
        """Run a chain until the end of the block."""
        spec = self.spec(stages, size)
        bundle = ensure(spec, say)
        self.started += 1
        chain = ShardlineChain(
            key=f"{spec.name}-{self.started}",
            pictures=self._pictures(size),
            client=self.client,
            bundle=bundle,
            stage_arguments=arguments,
            max_queue=_QUEUE,
            replicas=replicas or {},
        )
        try:
            chain.start(self.folder)
            yield chain
        finally:
            chain.stop()

    def _pictures(self, size: int | None) -> CheckedPictures:
        """Pictures for which the whole model's prediction is clear at this size."""
        spec = self.spec(1, size)
        if spec not in self.known:
            with self.floor(size) as floor:
                self.known[spec] = floor.choose_pictures(self.folder)
        return self.known[spec]

    @contextmanager
    def floor(self, size: int | None = None) -> Iterator[InProcess]:
        """The whole in process, with the kind of program that the chain runs."""
        program = "compiled" if self.compiled else "eager"
        floor = InProcess(
            key=f"floor-{size}", bundle=ensure(self.spec(1, size), say), program=program, files=self.files
        )
        try:
            floor.start(self.folder)
            yield floor
        finally:
            floor.stop()

    def measure(self, chain: ShardlineChain, *clients: int) -> dict[int, list[LoadSample]]:
        """Samples of all rounds, by the number of clients; the loads alternate."""
        loads = [Load(clients=count, seconds=self.scope.seconds) for count in clients]
        found: dict[int, list[LoadSample]] = {count: [] for count in clients}
        for round_ in range(self.scope.rounds):
            for count, sample in zip(clients, chain.measure(loads, round_, warm_s=1.0), strict=True):
                found[count].append(sample)
        return found


def main() -> int:
    parser = ArgumentParser(description="Measure how a chain grows, and compare with the prediction.")
    parser.add_argument("--quick", action="store_true", help="Fewer points and one round; takes five minutes")
    parser.add_argument("--compiled", action="store_true", help="Use compiled shards, which take minutes to build")
    parser.add_argument("--model", default="resnet50", help="Name of a torchvision model")
    parser.add_argument(
        "--only", default="", help="Comma-separated list of series: stages, batch, size, clients, replicas"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="Folder of the results")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return run_benchmark(lambda folder: grow(arguments, folder))


def grow(arguments: Namespace, folder: Path) -> dict[str, object]:
    (folder / "pictures").mkdir()
    machine = GrowthRun(
        scope=QUICK if arguments.quick else GrowthScope(),
        folder=folder,
        files=write_jpegs(folder / "pictures"),
        client=LoadProcess(folder / "load.log"),
        compiled=arguments.compiled,
        model=arguments.model,
    )
    return run(machine, arguments.out, tuple(filter(None, arguments.only.split(","))))


def run(machine: GrowthRun, out: Path, only: Sequence[str]) -> dict[str, object]:
    costs = measure_costs(machine)
    say(f"costs: {costs}")
    series = []
    for name, measure in SERIES.items():
        if not only or name in only:
            say(f"growth with {name}")
            series.append(measure(machine, costs))
    hardware, now = this_machine(), datetime.now(UTC)
    stem = out / f"growth_{machine.model}_{hardware.slug}_{now:%Y-%m-%d}"
    document = {
        "command": "python -m benchmarks.growth " + " ".join(sys.argv[1:]),
        "date": f"{now:%Y-%m-%d %H:%M} UTC",
        "hardware": asdict(hardware),
        "versions": versions(),
        "costs": asdict(costs),
        "series": [asdict(measured) for measured in series],
    }
    out.mkdir(parents=True, exist_ok=True)
    Path(f"{stem}.json").write_text(json.dumps(document, indent=1) + "\n")
    for measured in series:
        plot_series(
            measured, f"{machine.model}, {hardware.cpu}, {hardware.cpus} CPUs", Path(f"{stem}_{measured.name}.png")
        )
    say(f"{stem}.json and a plot for each series are written")
    return {"benchmark": "growth", **{measured.name: measured.over_predicted() for measured in series}}


def measure_costs(machine: GrowthRun) -> ChainCosts:
    """Measure the costs for the prediction: K=1 with one and with eight clients; a hop, by the micro-benchmarks."""
    say("measuring costs at K=1, and of a hop")
    with machine.chain(1) as chain:
        found = machine.measure(chain, 1, MANY)
    stage = run_micro("stage_overhead")
    router = run_micro("router_hop")
    sizes = (stage["narrow"]["bytes"], stage["bytes"])
    wall, cpu = (CostLine.through((sizes[0], stage["narrow"][key]), (sizes[1], stage[key])) for key in _STAGE_KEYS)
    hop, hop_cpu = (
        CostLine.through((_KIB, router[f"router_hop_1kb_{key}"]), (stage["bytes"], router[f"router_hop_3mb_{key}"]))
        for key in ("ms", "cpu_ms")
    )
    return ChainCosts(
        whole_ms=_median(found[1], "p50_ms"),
        whole_cpu_ms=_median(found[MANY], "cpu_ms"),
        hop=wall + hop,
        hop_cpu=cpu + hop_cpu,
        cores=this_machine().cpus,
    )


_STAGE_KEYS = ("stage_overhead_ms", "stage_cpu_ms")


def _median(samples: Sequence[LoadSample], name: str) -> float:
    return float(median(getattr(sample, name) for sample in samples))


def cuts_bytes(bundle: Bundle) -> list[float]:
    return [float(stage.output_bytes) for stage in bundle.stages[:-1]]


def stages_ms(bundle: Bundle, costs: ChainCosts) -> list[float]:
    """Time of each stage for one request: that of the whole, divided in the proportions that the plan measured."""
    total_ms = sum(stage.model_ms for stage in bundle.stages)
    return [costs.whole_ms * stage.model_ms / total_ms for stage in bundle.stages]


def by_stages(machine: GrowthRun, costs: ChainCosts) -> GrowthSeries:
    points = []
    for stages in machine.scope.stages:
        with machine.chain(stages) as chain:
            found = machine.measure(chain, 1, MANY)
            bundle = open_bundle(chain.bundle)
        cuts = cuts_bytes(bundle)
        points.append(
            GrowthPoint.of(
                stages,
                found[MANY],
                found[1],
                rps=costs.throughput_rps(cuts, MANY),
                ms=costs.latency_ms(cuts),
                apart_rps=costs.apart_rps(stages_ms(bundle, costs), cuts),
            )
        )
    return GrowthSeries(name="stages", label="stages K", points=tuple(points))


def by_batch(machine: GrowthRun, costs: ChainCosts) -> GrowthSeries:
    """Predict that a batch saves as much as the model alone does in process, and nothing else."""
    points = []
    with machine.floor() as floor:
        loads = [Load(clients=batch, seconds=machine.scope.seconds) for batch in machine.scope.batches]
        models_ms = {load.clients: _cpu_of(floor, load) for load in loads}
    first_ms = models_ms[machine.scope.batches[0]]
    for batch in machine.scope.batches:
        with machine.chain(3, arguments=(f"--max_batch_size={batch}",)) as chain:
            found = machine.measure(chain, 1, 16)
            cuts = cuts_bytes(open_bundle(chain.bundle))
        batched = ChainCosts(
            whole_ms=costs.whole_ms,
            whole_cpu_ms=costs.whole_cpu_ms - first_ms + models_ms[batch],
            hop=costs.hop,
            hop_cpu=costs.hop_cpu,
            cores=costs.cores,
        )
        rps, ms = batched.throughput_rps(cuts, 16), costs.latency_ms(cuts)
        points.append(GrowthPoint.of(batch, found[16], found[1], rps=rps, ms=ms))
    return GrowthSeries(name="batch", label="largest batch (K=3, 16 clients)", points=tuple(points))


def _cpu_of(floor: InProcess, load: Load) -> float:
    """Processor milliseconds per picture."""
    [sample] = floor.measure([load], 0, warm_s=0.0)
    assert sample.cpu_ms is not None
    return sample.cpu_ms


def by_size(machine: GrowthRun, costs: ChainCosts) -> GrowthSeries:
    """Predict that all but the model costs as much as at 224 pixels, and that hops grow with the tensors."""
    points = []
    with machine.floor() as floor:
        [usual] = floor.measure([Load(clients=1, seconds=machine.scope.seconds)], 0, warm_s=0.0)
    for size in machine.scope.sizes:
        with machine.floor(size) as floor:
            [model] = floor.measure([Load(clients=1, seconds=machine.scope.seconds)], 0, warm_s=0.0)
        with machine.chain(3, size) as chain:
            found = machine.measure(chain, 1, MANY)
            cuts = cuts_bytes(open_bundle(chain.bundle))
        sized = ChainCosts(
            whole_ms=costs.whole_ms + (model.p50_ms or 0) - (usual.p50_ms or 0),
            whole_cpu_ms=costs.whole_cpu_ms + (model.cpu_ms or 0) - (usual.cpu_ms or 0),
            hop=costs.hop,
            hop_cpu=costs.hop_cpu,
            cores=costs.cores,
        )
        rps, ms = sized.throughput_rps(cuts, MANY), sized.latency_ms(cuts)
        points.append(GrowthPoint.of(size, found[MANY], found[1], rps=rps, ms=ms))
    return GrowthSeries(name="size", label="height and width of the pictures in pixels (K=3)", points=tuple(points))


def by_clients(machine: GrowthRun, costs: ChainCosts) -> GrowthSeries:
    points = []
    with machine.chain(3) as chain:
        found = machine.measure(chain, *machine.scope.clients)
        cuts = cuts_bytes(open_bundle(chain.bundle))
    for clients in machine.scope.clients:
        rps = costs.throughput_rps(cuts, clients)
        points.append(
            GrowthPoint.of(clients, found[clients], found[clients], rps=rps, ms=loaded_latency_ms(clients, rps))
        )
    return GrowthSeries(name="clients", label="clients (K=3)", points=tuple(points), logarithmic=True)


def by_replicas(machine: GrowthRun, costs: ChainCosts) -> GrowthSeries:
    points = []
    bundle = open_bundle(ensure(machine.spec(3), say))
    slowest = max(bundle.stages, key=lambda stage: stage.model_ms).index
    cuts, times_ms = cuts_bytes(bundle), stages_ms(bundle, costs)
    for count in machine.scope.replicas:
        with machine.chain(3, replicas={slowest: count}) as chain:
            found = machine.measure(chain, 1, MANY)
        counts = [count if index == slowest else 1 for index in range(len(times_ms))]
        points.append(
            GrowthPoint.of(
                count,
                found[MANY],
                found[1],
                rps=costs.throughput_rps(cuts, MANY),
                ms=costs.latency_ms(cuts),
                apart_rps=costs.apart_rps(times_ms, cuts, counts),
            )
        )
    return GrowthSeries(name="replicas", label="replicas of the slowest stage (K=3)", points=tuple(points))


SERIES = {"stages": by_stages, "batch": by_batch, "size": by_size, "clients": by_clients, "replicas": by_replicas}

if __name__ == "__main__":
    sys.exit(main())
