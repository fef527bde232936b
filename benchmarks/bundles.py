"""Bundles of the benchmarks: built once by the `shardline` command and kept in bundles/bench.

A bundle is built again when its command, torch or the code that builds it changed. Weights are random, so that nothing
is downloaded: the time of a model does not depend on them. The plate detector has the weights that ship.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.processes import UnavailableError

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "bundles" / "bench"
SHARDLINE = (sys.executable, "-m", "shardline")
BATCH = 8
# Eight instances at a cut of ResNet-50 have up to 25 MiB. They are sent in eight requests, but a plan assumes one.
LIMIT = "32Mi"
_SOURCES = ("partition", "storage", "tasks")  # folders on which a bundle's bytes depend
_PLATES = "plates"  # the project's own model and weights
_PLATES_SOURCES = ("training/detector",)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleSpec:
    """Options of a bundle. `cuts` are names of modules; without any, the cuts are planned."""

    stages: int
    precision: str = "fp32"
    compiled: bool = False
    target: str = "cpu"
    model: str = "resnet50"
    batch: int = BATCH
    size: int | None = None
    cuts: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        parts = [self.model, f"k{self.stages}", self.precision]
        parts += [f"{self.size}px"] if self.size else []
        parts += [f"b{self.batch}"] if self.batch != BATCH else []
        parts += [self.target] if self.target != "cpu" else []
        parts += ["compiled"] if self.compiled else []
        return "-".join(parts)

    def command(self, folder: Path) -> list[str]:
        return [
            "build",
            *([_PLATES] if self.model == _PLATES else [f"torchvision:{self.model}", "--weights=random:0"]),
            f"--batch={self.batch}",
            *([f"--limit={LIMIT}"] if self.batch > 1 else []),
            f"--name={self.name.replace('_', '-')}",
            f"--out={folder}",
            *([f"--cuts={','.join(self.cuts)}"] if self.cuts else [f"--stages={self.stages}"]),
            *([f"--size={self.size}"] if self.size else []),
            *([f"--precision={self.precision}"] if self.precision != "fp32" else []),
            *([f"--compile={self.target}"] if self.compiled else []),
        ]


def ensure(spec: BundleSpec, say: Say, root: Path = FOLDER) -> Path:
    """Return the bundle's folder; build it unless it exists.

    Raises:
        UnavailableError: it cannot be built, with the message of the build.
    """
    folder, stamp = root / spec.name, root / f"{spec.name}.json"
    wanted = {"command": spec.command(folder), "torch": version("torch"), "sources": _sources(spec)}
    if folder.is_dir() and _read(stamp) == wanted:
        return folder
    stamp.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    say(f"building {spec.name}")
    shardline(*spec.command(folder))
    stamp.write_text(json.dumps(wanted, indent=1) + "\n")
    return folder


def shardline(*arguments: str, cwd: Path = ROOT) -> str:
    """Run a subcommand of `shardline` and return what it prints on stdout.

    Raises:
        UnavailableError: it failed, with the last line that it printed.
    """
    done = subprocess.run([*SHARDLINE, *arguments], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        raise UnavailableError(f"shardline {arguments[0]}: {lines[-1] if lines else f'exit code {done.returncode}'}")
    return done.stdout


def _sources(spec: BundleSpec) -> str:
    digest = hashlib.sha256()
    folders = (*_SOURCES, *(_PLATES_SOURCES if spec.model == _PLATES else ()))
    found = (path for folder in folders for path in (ROOT / folder).rglob("*"))
    for path in sorted(path for path in found if path.suffix in (".py", ".safetensors")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _read(stamp: Path) -> object:
    try:
        return json.loads(stamp.read_text())
    except (OSError, ValueError):
        return None
