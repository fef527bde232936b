"""Which systems are compared: ours in its variants, the peers, and the floor."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.bundles import BundleSpec, ensure
from benchmarks.errors import UnavailableError
from benchmarks.load import LoadProcess
from benchmarks.pictures import Pictures
from benchmarks.systems.base import System
from benchmarks.systems.inprocess import InProcess
from benchmarks.systems.json_chain import JsonChain
from benchmarks.systems.rayserve import Ray, RayApplication
from benchmarks.systems.shardline import BehindKServeRouter, ShardlineChain, kserve_router
from benchmarks.systems.torchserve import TorchServe

Say = Callable[[str], None]

# Even stages between which little passes, 1.5 and 0.8 MB. A plan for a machine for each stage would pass 3.1
# and 1.0 MB for 5 % more evenness; here all stages share the cores, and each byte costs processor time.
_CUTS = {2: ("layer3.0",), 3: ("layer2.1", "layer3.2")}
# How many frames a stage joins. In fp32 one picture is as fast alone as with one or two others (docs/performance.md),
# and no more meet in a stage when eight clients ask a chain; bf16's matrix units want more at once.
_BATCH_OF_FP32 = {1: 8, 2: 1, 3: 1}
_BATCH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundles:
    """The bundles' folders by (stages, precision); a compiled bundle also holds the portable shards."""

    folders: dict[tuple[int, str], Path]
    left_out: dict[str, str]

    def folder(self, stages: int, precision: str = "fp32") -> Path:
        return self.folders[stages, precision]


def build_bundles(stages: Sequence[int], precisions: Sequence[str], say: Say, *, compiled: bool) -> Bundles:
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
    return Bundles(folders=folders, left_out=left_out)


def floors(bundles: Bundles, files: Sequence[Path], *, compiled: bool) -> Iterator[InProcess]:
    """The whole in process; the first, eager in fp32, is the judge of all replies."""
    for precision in dict.fromkeys(precision for _, precision in bundles.folders):
        name = "" if precision == "fp32" else f"-{precision}"
        folder = bundles.folder(1, precision)
        if precision == "fp32":
            yield InProcess(key="in-process-eager", bundle=folder, program="eager", files=files)
        if compiled and _is_compiled(folder):
            yield InProcess(key=f"in-process-compiled{name}", bundle=folder, program="compiled", files=files)


def servers(bundles: Bundles, pictures: Pictures, client: LoadProcess, say: Say, *, quick: bool) -> Iterator[System]:
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
    pictures: Pictures,
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


def _peers(bundles: Bundles, pictures: Pictures, client: LoadProcess, say: Say) -> Iterator[System]:
    whole, parts = bundles.folder(1), bundles.folder(3)
    for tuned in (True, False):
        key = f"torchserve-{'tuned' if tuned else 'defaults'}"
        yield TorchServe(key=key, pictures=pictures, client=client, bundle=whole, tuned=tuned, say=say)
    ray = Ray(bundle=parts, say=say)
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
