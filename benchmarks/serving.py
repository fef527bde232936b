"""Shardline against the others, on this machine, in one run: `make bench`, or `python -m benchmarks.serving [--quick]`.

What: ResNet-50, photographs as JPEGs in, a class out. Shardline whole and in 2 and 3 stages, portable and compiled, in
fp32 and where the CPU multiplies it in bf16, behind its own router and KServe's; TorchServe with the whole model; Ray
Serve and a plain KServe chain with JSON, both made of the same three parts; and the model alone, in process. Each is
started once, paused while others are measured, and asked in rounds: by one client, by eight, and by arrivals at a fixed
rate that all get (70 % of what TorchServe can do). Each reply must name the class that the whole model names.

Why: what a chain costs or gains can only be said beside what else there is, in the same hour on the same machine.

The ceiling: no server can do more than the compiled model alone in process, at batch 8.

What cannot be measured here is left out and said so. Results go into benchmarks/results/. The last line is one JSON
object.
"""

import os
import shlex
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from benchmarks.bundles import BundleSpec, ensure
from benchmarks.figures import MANY, by_round, headline
from benchmarks.load import Load, LoadProcess
from benchmarks.micro import micro_figures
from benchmarks.pictures import CheckedPictures, write_jpegs
from benchmarks.plots import plot_systems
from benchmarks.processes import UnavailableError, run_benchmark
from benchmarks.report import RESULTS, Hardware, console, print_table, save, say, this_machine, versions, wide_console
from benchmarks.rounds import Measurements, measure_rounds, start_all
from benchmarks.systems.base import System
from benchmarks.systems.inprocess import InProcess
from benchmarks.systems.json_chain import JsonChain
from benchmarks.systems.rayserve import RayApplication, RayCluster
from benchmarks.systems.shardline import BehindKServeRouter, ShardlineChain, kserve_router
from benchmarks.systems.torchserve import TorchServe
from shardline.storage.bundle_folder import open_bundle

_MIB = 1024**2
_SHARE = 0.7  # of TorchServe's throughput: what arrives in the open loop


Say = Callable[[str], None]

# Even stages between which little passes, 1.5 and 0.8 MB. A plan for a machine for each stage would pass 3.1
# and 1.0 MB for 5 % more evenness; here all stages share the cores, and each byte costs processor time.
_CUTS = {2: ("layer3.0",), 3: ("layer2.1", "layer3.2")}
# How many frames a stage joins. In fp32 one picture is as fast alone as with one or two others (docs/performance.md),
# and no more meet in a stage when eight clients ask a chain; bf16's matrix units want more at once.
_BATCH_OF_FP32 = {1: 8, 2: 1, 3: 1}
_BATCH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchBundles:
    """The bundles' folders by (stages, precision); a compiled bundle also holds the portable shards."""

    folders: dict[tuple[int, str], Path]
    left_out: dict[str, str]

    def folder(self, stages: int, precision: str = "fp32") -> Path:
        return self.folders[stages, precision]


def build_bundles(stages: Sequence[int], precisions: Sequence[str], say: Say, *, compiled: bool) -> BenchBundles:
    """Build what is to be served; without compiled shards where they cannot be made here.

    Raises:
        UnavailableError: not even portable ones can.
    """
    folders: dict[tuple[int, str], Path] = {}
    left_out: dict[str, str] = {}
    for precision in precisions:
        for count in stages:
            spec = BundleSpec(
                stages=count,
                precision=precision,
                compiled=compiled,
                batch=_BATCH_OF_FP32[count] if precision == "fp32" else _BATCH,
                cuts=_CUTS.get(count, ()),
            )
            try:
                folders[count, precision] = ensure(spec, say)
            except UnavailableError as exc:
                say(f"{spec.name} cannot be built: {exc}")
                left_out[f"k{count}-{precision}{'-compiled' if compiled else ''}"] = str(exc)
                if compiled:
                    folders[count, precision] = ensure(replace(spec, compiled=False), say)
                elif precision == "fp32":  # the parts of all others come from it
                    raise
    return BenchBundles(folders=folders, left_out=left_out)


def floors(bundles: BenchBundles, files: Sequence[Path], *, compiled: bool) -> Iterator[InProcess]:
    """The whole in process; the first, eager in fp32, is the judge of all replies."""
    for precision in dict.fromkeys(precision for _, precision in bundles.folders):
        name = "" if precision == "fp32" else f"-{precision}"
        folder = bundles.folder(1, precision)
        if precision == "fp32":
            yield InProcess(key="in-process-eager", bundle=folder, program="eager", files=files)
        if compiled and _is_compiled(folder):
            yield InProcess(key=f"in-process-compiled{name}", bundle=folder, program="compiled", files=files)


def servers(
    bundles: BenchBundles, pictures: CheckedPictures, client: LoadProcess, say: Say, *, quick: bool
) -> Iterator[System]:
    """Every server, in the order of the table. `quick` leaves out what no ratio needs."""
    for (stages, precision), folder in bundles.folders.items():
        programs = ("compiled", "portable") if _is_compiled(folder) else ("portable",)
        for program in programs:
            if quick and program == "portable" and len(programs) > 1 and stages != 3:
                continue
            yield from _chains(stages, precision, program, folder, pictures, client, quick=quick)
    yield from _peers(bundles, pictures, client, say)


def _chains(
    stages: int,
    precision: str,
    program: str,
    folder: Path,
    pictures: CheckedPictures,
    client: LoadProcess,
    *,
    quick: bool,
) -> Iterator[System]:
    key = f"k{stages}-{precision}{'-compiled' if program == 'compiled' else ''}"
    asked = [f"--program={program}"] if _is_compiled(folder) else []
    chain = ShardlineChain(key=key, pictures=pictures, client=client, bundle=folder, stage_arguments=asked)
    yield chain
    main = program == "compiled" or not _is_compiled(folder)
    if stages > 1 and (main or not quick):
        yield BehindKServeRouter(key=f"{key}-kserve", pictures=pictures, client=client, base=chain)


def _peers(bundles: BenchBundles, pictures: CheckedPictures, client: LoadProcess, say: Say) -> Iterator[System]:
    whole, parts = bundles.folder(1), bundles.folder(3)
    for tuned in (True, False):
        key = f"torchserve-{'tuned' if tuned else 'defaults'}"
        yield TorchServe(key=key, pictures=pictures, client=client, bundle=whole, tuned=tuned, say=say)
    ray = RayCluster(bundle=parts, say=say)
    for application in ("defaults", "threads"):
        yield RayApplication(
            key=f"ray-{application}", pictures=pictures, client=client, ray=ray, application=application
        )
    chain = JsonChain(key="json-chain", pictures=pictures, client=client, bundle=parts)
    try:
        kserve_router()
    except UnavailableError:
        yield chain
    else:
        yield BehindKServeRouter(key="json-chain", pictures=pictures, client=client, base=chain)


def _is_compiled(folder: Path) -> bool:
    return any(folder.glob("stages/*/compiled"))


def main() -> int:
    arguments = _parse()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # what a pod's environment says
    measured = Measurements()
    code = run_benchmark(lambda folder: run(arguments, folder, measured))
    for system in measured.wrong:
        console.print(f"error: {measured.left_out[system]}", markup=False)
    return 1 if measured.wrong else code


def _parse() -> Namespace:
    parser = ArgumentParser(description="Measure Shardline against TorchServe, Ray Serve and plain KServe.")
    parser.add_argument("--quick", action="store_true", help="fewer systems, two short rounds; within ten minutes")
    parser.add_argument("--rounds", type=int, help="default: 5, quick 2")
    parser.add_argument("--only", default="", help="comma list: systems whose names begin so, e.g. k3,torchserve")
    parser.add_argument("--portable", action="store_true", help="no compiled shards")
    parser.add_argument("--no-micro", dest="micro", action="store_false", help="leave out the micro-benchmarks")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    return parser.parse_args()


def run(arguments: Namespace, folder: Path, measured: Measurements) -> dict[str, object]:
    """Everything; -> what the last line says.

    Raises:
        UnavailableError: nothing can be measured: there is no bundle, or the whole model does not run.
    """
    hardware = this_machine()
    precisions = ["fp32", *(["bf16"] if hardware.has_bf16 else [])]
    if not hardware.has_bf16:
        say("bf16 is left out: this CPU has neither AMX nor AVX512-BF16")
    stages = (1, 3) if arguments.quick else (1, 2, 3)
    bundles = build_bundles(stages, precisions, say, compiled=not arguments.portable)
    measured.left_out |= bundles.left_out
    with _load(folder) as client:
        rounds = arguments.rounds or (2 if arguments.quick else 5)
        _measure(arguments, bundles, hardware, folder, client, measured, rounds)
    figures = headline(measured.samples) | _memory_figures(measured, bundles)
    if arguments.micro:
        figures |= micro_figures(bundles.folder(3), say, quick=arguments.quick)
    return _report(arguments, hardware, measured, figures, rounds)


@contextmanager
def _load(folder: Path) -> Iterator[LoadProcess]:
    client = LoadProcess(folder / "load.log")
    try:
        yield client
    finally:
        client.close()


def _measure(
    arguments: Namespace,
    bundles: BenchBundles,
    hardware: Hardware,
    folder: Path,
    client: LoadProcess,
    measured: Measurements,
    rounds: int,
) -> None:
    (folder / "pictures").mkdir()
    files = write_jpegs(folder / "pictures")
    models = list(floors(bundles, files, compiled=not arguments.portable))
    ready: list[System] = []
    try:
        models[0].start(folder)
        pictures = models[0].choose_pictures(folder)
        models[0].pause()
        say(f"{len(pictures.files)} of {len(files)} pictures: the whole model is sure of them")
        wanted = [*servers(bundles, pictures, client, say, quick=arguments.quick), *models[1:]]
        ready += [*start_all(_chosen(wanted, arguments.only), folder, measured, say), models[0]]
        seconds = (2.0, 3.0, 2.0) if arguments.quick else (3.0, 5.0, 4.0)
        rate_rps = _rate(ready)
        loads = [
            Load(clients=1, seconds=seconds[0]),
            Load(clients=8, seconds=seconds[1]),
            *([Load(clients=32, seconds=seconds[1])] if hardware.has_bf16 else []),
            Load(rate_rps=rate_rps, seconds=seconds[2]),
        ]
        measure_rounds(ready, loads, rounds, measured, say, warm_s=1.0)
    finally:
        for system in ready:
            system.stop()


def _chosen(systems: Sequence[System], only: str) -> list[System]:
    prefixes = tuple(filter(None, only.split(",")))
    return [system for system in systems if not prefixes or system.key.startswith(prefixes)]


def _rate(ready: Sequence[System]) -> float:
    """Arrivals a second: a share of what TorchServe does, else of what another system does."""
    keys = [system.key for system in ready]
    key = next(each for each in ("torchserve-tuned", "torchserve-defaults", "k3-fp32", *keys) if each in keys)
    probe = Measurements()
    [system] = [each for each in ready if each.key == key]
    measure_rounds([system], [Load(clients=8, seconds=3.0)], 1, probe, say, warm_s=2.0)
    rates = by_round(probe.samples, key, MANY, "rps")
    rate_rps = round(_SHARE * median(rates.values()), 1) if rates else 1.0
    say(f"open loop: {rate_rps:g} requests/s, {_SHARE:.0%} of what {key} does")
    return rate_rps


def _memory_figures(measured: Measurements, bundles: BenchBundles) -> dict[str, object]:
    """MiB resident after the last round: the transformer, the shards, and what they have beyond their weights."""
    key = next((each for each in ("k3-fp32-compiled", "k3-fp32") if each in measured.memory), None)
    if key is None:
        return {"transformer_rss_mib": None, "shard_rss_mib": None, "shard_rss_over_weights_mib": None}
    found = measured.memory[key]
    shards = [round(each.rss_mib) for each in found if each.name == "shardline.predictors.shard"]
    transformers = [round(each.rss_mib) for each in found if each.name == "shardline.predictors.transformer"]
    weights = [stage.weight_bytes / _MIB for stage in open_bundle(bundles.folder(3)).stages]
    return {
        "transformer_rss_mib": max(transformers, default=None),
        "shard_rss_mib": shards,
        # the order of processes is not that of stages: the heaviest with the heaviest
        "shard_rss_over_weights_mib": [
            round(rss - weight) for rss, weight in zip(sorted(shards), sorted(weights), strict=False)
        ],
    }


def _report(
    arguments: Namespace, hardware: Hardware, measured: Measurements, figures: dict[str, object], rounds: int
) -> dict[str, object]:
    now = datetime.now(UTC)
    stem = arguments.out / f"resnet50_{hardware.slug}_{now:%Y-%m-%d}{'_quick' if arguments.quick else ''}"
    document = {
        "command": shlex.join(["python", "-m", "benchmarks.serving", *sys.argv[1:]]),
        "date": f"{now:%Y-%m-%d %H:%M} UTC",
        "hardware": asdict(hardware),
        "versions": versions(),
        "rounds": rounds,
        "left_out": measured.left_out,
        "figures": figures,
        "memory": {key: [asdict(each) for each in found] for key, found in measured.memory.items()},
    }
    print_table(measured.samples, measured.left_out, wide_console())
    save(stem, document, measured.samples)
    plot_systems(
        measured.samples, f"ResNet-50, {hardware.cpu}, {hardware.cpus} CPUs, {now:%Y-%m-%d}", Path(f"{stem}.png")
    )
    say(f"{stem}.json, .csv and .png are written")
    return {"benchmark": "serving", "left_out": measured.left_out, **figures}


if __name__ == "__main__":
    sys.exit(main())
