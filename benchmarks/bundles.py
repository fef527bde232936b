"""The bundles that are served: built by the command a user types, once, and kept in bundles/bench.

A bundle is built again when its command, torch or the code that builds changed. Random weights, so that nothing is
downloaded: how long a model takes does not depend on what it learnt. The detector of plates has its own, which ship.
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
# Eight instances at a cut of ResNet-50 are up to 26 MB: they cross in eight requests, but a plan sees one batch.
LIMIT = "32Mi"
_SOURCES = ("partition", "storage", "tasks")  # what a bundle's bytes depend on
_PLATES = "plates"  # the project's own model, with its own weights
_PLATES_SOURCES = ("training/detector",)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleSpec:
    """What to build. `cuts` are names of modules; without them they are planned."""

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
    """The bundle's folder, built unless it is there.

    Raises:
        UnavailableError: it cannot be built; the message is the build's own.
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
    """Run one command of shardline's; -> what it prints.

    Raises:
        UnavailableError: with the last line of what it says.
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
