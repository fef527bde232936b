"""The virtual environment of the other servers, `.venv-peers`: made on first use, on top of the project's own.

TorchServe needs an old setuptools, Ray brings dozens of packages: neither belongs into the project's environment. But
torch with its 6 GB is not installed twice: a .pth file shows this environment the packages of that one. What is
installed is what requirements/torchserve.txt and requirements/ray.txt name; each may fail without the other.
"""

import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

from benchmarks.bundles import ROOT
from benchmarks.errors import UnavailableError

VENV = ROOT / ".venv-peers"
BIN = VENV / "bin"
PYTHON = BIN / "python"
_INSTALL_S = 900


def ensure_peer(extra: str, say: Callable[[str], None]) -> None:
    """Install what the extra names into `.venv-peers`, unless it is there.

    Raises:
        UnavailableError: the environment cannot be made, or pip cannot install it.
    """
    stamp = VENV / f"{extra}.installed"
    base = sysconfig.get_paths()["purelib"]
    wanted = "\n".join([base, *_requirements(extra)]) + "\n"  # the environment below may have moved
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    if not PYTHON.exists():
        say("making .venv-peers")
        _run([sys.executable, "-m", "venv", str(VENV)], extra)
    packages = Path(_run([str(PYTHON), "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"], extra))
    (packages / "shardline_base.pth").write_text(base + "\n")
    say(f"installing {', '.join(_requirements(extra))} into .venv-peers")
    _run([str(PYTHON), "-m", "pip", "install", "--quiet", *_requirements(extra)], extra)
    stamp.write_text(wanted)


def _requirements(extra: str) -> list[str]:
    lines = (ROOT / "requirements" / f"{extra}.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]


def _run(command: list[str], extra: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_INSTALL_S)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise UnavailableError(f"{extra} cannot be installed: {exc}") from exc
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise UnavailableError(f"{extra} cannot be installed: {lines[-1] if lines else done.returncode}")
    return done.stdout.strip()
