"""Throughput and latency of Shardline and of other servers, in one run: `python -m benchmarks.serving [--quick]`.

What: ResNet-50; requests are photographs as JPEGs, replies are classes. Shardline with 1, 2 and 3 stages, portable and
compiled, in fp32 and, where the CPU multiplies it, in bf16, behind its own router and KServe's; TorchServe with the
whole model; Ray Serve and a plain KServe chain with JSON, both with the same three shards; and the model alone, in
process. Each is started once, paused while others are measured, and measured in rounds: with one client, with eight,
and with arrivals at a fixed rate that is the same for all (70 % of TorchServe's throughput). Each reply must have the
class that the whole model predicts.

Why: the cost or gain of a chain can only be stated relative to other servers, at the same time on the same machine.

Ceiling: no server can exceed the compiled model alone in process, at batch size 8.

`make bench` runs it, too. Systems that cannot be measured here are left out, with the reason. Results are written into
benchmarks/results/. The last line is one JSON object.
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
from shardline.wire.limits import MIB

_SHARE = 0.7  # arrivals in the open loop, as a share of TorchServe's throughput


Say = Callable[[str], None]

# Nearly equal stages with small tensors between them, 1.5 and 0.8 MiB. A plan for one machine per stage would transfer
# 3.0 and 1.0 MiB to be 5 % more equal; here all stages share the cores, and each byte costs processor time.
_CUTS = {2: ("layer3.0",), 3: ("layer2.1", "layer3.2")}
# Largest batch of a stage. In fp32, one picture is as fast alone as in a batch of two or three (docs/performance.md),
# and no more meet in a stage with eight clients; the matrix units of bf16 need larger batches.
_BATCH_OF_FP32 = {1: 8, 2: 1, 3: 1}
_BATCH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchBundles:
    """Folders of bundles by (stages, precision). A compiled bundle also holds the portable shards."""

    folders: dict[tuple[int, str], Path]
    left_out: dict[str, str]

    def folder(self, stages: int, precision: str = "fp32") -> Path:
        return self.folders[stages, precision]


def build_bundles(stages: Sequence[int], precisions: Sequence[str], say: Say, *, compiled: bool) -> BenchBundles:
    """Build the served bundles, without compiled shards where they cannot be compiled here.

    Raises:
        UnavailableError: portable ones cannot be built either.
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
                elif precision == "fp32":  # all other systems take their shards from it
                    raise
    return BenchBundles(folders=folders, left_out=left_out)


def floors(bundles: BenchBundles, files: Sequence[Path], *, compiled: bool) -> Iterator[InProcess]:
    """The whole in process. The first one, eager in fp32, decides which replies are right."""
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
    """All servers, in the order of the table. `quick` leaves out those that no ratio needs."""
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
    arguments = [f"--program={program}"] if _is_compiled(folder) else []
    chain = ShardlineChain(key=key, pictures=pictures, client=client, bundle=folder, stage_arguments=arguments)
    yield chain
    main = program == "compiled" or not _is_compiled(folder)
    if stages > 1 and (main or not quick):
        yield BehindKServeRouter(key=f"{key}-kserve", pictures=pictures, client=client, base=chain)


def _peers(bundles: BenchBundles, pictures: CheckedPictures, client: LoadProcess, say: Say) -> Iterator[System]:
    whole, shards = bundles.folder(1), bundles.folder(3)
    for tuned in (True, False):
        key = f"torchserve-{'tuned' if tuned else 'defaults'}"
        yield TorchServe(key=key, pictures=pictures, client=client, bundle=whole, tuned=tuned, say=say)
    ray = RayCluster(bundle=shards, say=say)
    for application in ("defaults", "threads"):
        yield RayApplication(
            key=f"ray-{application}", pictures=pictures, client=client, ray=ray, application=application
        )
    chain = JsonChain(key="json-chain", pictures=pictures, client=client, bundle=shards)
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
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in a pod
    measured = Measurements()
    code = run_benchmark(lambda folder: run(arguments, folder, measured))
    for system, reason in measured.left_out.items():  # a table without a rival is no comparison
        console.print(f"error: {system} was not measured: {reason}", markup=False, soft_wrap=True)
    return 1 if measured.left_out else code


def _parse() -> Namespace:
    parser = ArgumentParser(description="Measure Shardline against TorchServe, Ray Serve and plain KServe.")
    parser.add_argument("--quick", action="store_true", help="Fewer systems and two short rounds; takes ten minutes")
    parser.add_argument("--rounds", type=int, help="Number of rounds; default: 5, with --quick 2")
    parser.add_argument("--only", default="", help="Comma-separated list of prefixes of systems, e.g. k3,torchserve")
    parser.add_argument("--portable", action="store_true", help="Leave out compiled shards")
    parser.add_argument("--no-micro", dest="micro", action="store_false", help="Leave out the micro-benchmarks")
    parser.add_argument("--out", type=Path, default=RESULTS, help="Folder of the results")
    return parser.parse_args()


def run(arguments: Namespace, folder: Path, measured: Measurements) -> dict[str, object]:
    """Run the whole benchmark and return the content of the last line.

    Raises:
        UnavailableError: there is no bundle, or the whole model does not run, so that nothing can be measured.
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
        say(f"{len(pictures.files)} of {len(files)} pictures: the prediction of the whole model is clear")
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
    """Arrivals per second: a share of TorchServe's throughput, or of another system's if it is not measured."""
    keys = [system.key for system in ready]
    key = next(name for name in ("torchserve-tuned", "torchserve-defaults", "k3-fp32", *keys) if name in keys)
    probe = Measurements()
    [system] = [candidate for candidate in ready if candidate.key == key]
    measure_rounds([system], [Load(clients=8, seconds=3.0)], 1, probe, say, warm_s=2.0)
    rates = by_round(probe.samples, key, MANY, "rps")
    rate_rps = round(_SHARE * median(rates.values()), 1) if rates else 1.0
    say(f"open loop: {rate_rps:g} requests/s, {_SHARE:.0%} of the throughput of {key}")
    return rate_rps


def _memory_figures(measured: Measurements, bundles: BenchBundles) -> dict[str, object]:
    """Resident MiB after the last round: of the transformer, of the shards, and of these beyond their weights."""
    key = next((name for name in ("k3-fp32-compiled", "k3-fp32") if name in measured.memory), None)
    if key is None:
        return {"transformer_rss_mib": None, "shard_rss_mib": None, "shard_rss_over_weights_mib": None}
    found = measured.memory[key]
    shards = [round(memory.rss_mib) for memory in found if memory.name == "shardline.predictors.shard"]
    transformers = [round(memory.rss_mib) for memory in found if memory.name == "shardline.predictors.transformer"]
    weights = [stage.weight_bytes / MIB for stage in open_bundle(bundles.folder(3)).stages]
    return {
        "transformer_rss_mib": max(transformers, default=None),
        "shard_rss_mib": shards,
        # processes are not in the order of stages: the largest process is matched with the largest weights
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
        "memory": {key: [asdict(memory) for memory in found] for key, found in measured.memory.items()},
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
