"""Select a shard's compiled packages that fit this machine, and load them.

A package is an archive of AOTInductor's with a shared library in it, made for one release of torch, one kind of CPU and
perhaps one GPU architecture. `select` compares all of that before anything is opened. The library is native code: only
the bundle's digest vouches for it, which fixes the digest of every package (docs/compiled.md).

The library is unpacked into the temporary folder, loaded, which copies the weights, and deleted once the shard is warm.
No compiler is needed, and torch's compiler modules are not imported.
"""

import ctypes
import platform
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from shardline.partition.archive import unpack_package
from shardline.partition.device import CPU, Module, gpu_architecture
from shardline.partition.program import one_line
from shardline.storage.bundle import Package, Stage
from shardline.wire.errors import BundleError

_MADV_PAGEOUT = 21  # Linux; Python's mmap does not name it

PROGRAMS = ("auto", "portable", "compiled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Properties of a machine that a package must fit; the fields are those of `shardline.storage.bundle.Package`."""

    torch_version: str
    system: str
    machine: str
    cpu_features: frozenset[str]
    gpu_architecture: str | None
    threads: int


def this_machine(device: torch.device = CPU) -> Machine:
    """Describe this machine with one of its devices."""
    features = torch.cpu.get_capabilities()
    return Machine(
        torch_version=torch.__version__.partition("+")[0],
        system=sys.platform,
        machine=platform.machine(),
        cpu_features=frozenset(name for name, value in features.items() if value is True),
        gpu_architecture=gpu_architecture(device),
        threads=torch.get_num_threads(),
    )


class Selection(NamedTuple):
    """Selected packages, the one for any batch first, and in one line the reason why others, or all, were left out."""

    packages: tuple[Package, ...]
    why_not: str


def select(stage: Stage, device: torch.device, machine: Machine | None = None) -> Selection:
    """Select the packages of a stage that fit the device and the machine; none without one for any batch."""
    machine = machine or this_machine(device)
    candidates = [package for package in stage.compiled if package.target == device.type]
    if not candidates:
        return Selection((), f"the bundle has none for {device.type}")
    fitting = [package for package in candidates if not _misfit(package, machine)]
    by_batch = sorted(fitting, key=lambda package: package.batch or 0)
    if not by_batch or by_batch[0].batch is not None:
        for_any = next((package for package in candidates if package.batch is None), candidates[0])
        return Selection((), f"{for_any.path} {_misfit(for_any, machine) or 'takes one batch only'}")
    left_out = (f"{package.path} {_misfit(package, machine)}" for package in candidates if package not in fitting)
    return Selection(tuple(by_batch), "; ".join(left_out))


def _misfit(package: Package, machine: Machine) -> str:
    """Requirement of the package that the machine does not meet; '' if it fits."""
    for field, what in (("torch_version", "torch "), ("system", ""), ("machine", ""), ("gpu_architecture", "")):
        needed, found = getattr(package, field), getattr(machine, field)
        if needed != found:
            return f"needs {what}{needed}, here is {found}"
    if package.threads not in {None, machine.threads}:
        return f"needs {package.threads} threads, here are {machine.threads}"
    missing = sorted(set(package.cpu_features) - machine.cpu_features)
    return f"needs a CPU with {', '.join(missing)}, which this one lacks" if missing else ""


class Compiled:
    """Module that runs a stage's package for exactly this batch where there is one, else that for any batch."""

    def __init__(self, runners: Mapping[int | None, Module], stage: Stage) -> None:
        self.batches = tuple(sorted(batch for batch in runners if batch is not None))
        self.takes_any = None in runners
        self._any = runners.get(None, _no_such_batch)
        self._fixed = {
            tuple(torch.Size(spec.shape_for(batch)) for spec in stage.inputs): runners[batch] for batch in self.batches
        }

    def __call__(self, *inputs: torch.Tensor) -> object:
        return self._fixed.get(tuple(value.shape for value in inputs), self._any)(*inputs)


def _no_such_batch(*inputs: torch.Tensor) -> object:
    raise BundleError(f"no package was loaded for inputs of {[list(value.shape) for value in inputs]}")


@contextmanager
def opened(folder: Path, packages: Sequence[Package], stage: Stage, device: torch.device) -> Iterator[Compiled]:
    """Load packages, whose digests were checked.

    Warm the shard up inside the context: a GPU's kernels are read from the unpacked files when they first run.

    Raises:
        BundleError: a package has an unknown member, or cannot be loaded.
    """
    with tempfile.TemporaryDirectory(prefix="shardline-") as unpacked:
        runners = {
            package.batch: _runner(folder / package.path, Path(unpacked) / str(number), device)
            for number, package in enumerate(packages)
        }
        yield Compiled(runners, stage)


def _runner(path: Path, unpacked: Path, device: torch.device) -> Module:
    library = unpack_package(path, unpacked)
    try:
        runner = _load(library, device)
    except RuntimeError as exc:
        raise BundleError(
            f"{path.name} cannot be loaded ({one_line(exc)}): is the temporary folder mounted noexec? "
            "Choose --program portable or build the bundle again"
        ) from exc
    if device.type == "cpu":
        _reclaim(library)
    return lambda *inputs: runner.run(list(inputs))


def _reclaim(library: Path) -> None:
    """Let the kernel reclaim the pages of the library's constants, from which the loader has copied the weights.

    This is advice: dirty pages stay, pages that are touched again are read from the file, and a kernel before Linux
    5.4, which does not know MADV_PAGEOUT, does nothing.
    """
    try:
        mapped = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    except OSError:
        return  # not Linux
    madvise = ctypes.CDLL(None).madvise
    for line in mapped:
        if line.endswith(f" {library}") and line.split()[1] == "r--p":
            start, end = (int(address, 16) for address in line.split()[0].split("-"))
            madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_PAGEOUT)


def _load(library: Path, device: torch.device) -> Any:
    if device.type == "cpu":
        return torch._C._aoti.AOTIModelContainerRunnerCpu(str(library), 1)
    return torch._C._aoti.AOTIModelContainerRunnerCuda(str(library), 1, str(device), str(library.parent))
