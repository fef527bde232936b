"""A chain as a user runs it: built, rendered and up, by the command line, in processes of its own."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import requests
from services.processes import ROOT, free_port, running, stop, wait_until


@dataclass(frozen=True, slots=True)
class Up:
    """`shardline up`, ready. `log` holds what it prints, the processes' lines too."""

    url: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def post(self, body: bytes, **headers: str) -> requests.Response:
        return requests.post(self.url, data=body, headers=headers, timeout=60)

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def child(self, model: str, module: str = "shardline.predictors.shard") -> psutil.Process:
        """The process that serves `model`."""
        for process in self.children():
            line = process.cmdline()
            if module in line and f"--model_name={model}" in line:
                return process
        raise LookupError(f"no {module} of {model} among {[process.cmdline() for process in self.children()]}")


def shardline(
    *arguments: str, code: int = 0, folder: Path = ROOT, timeout_s: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run the command; its exit code must be `code`, and a traceback is never right."""
    command = [sys.executable, "-m", "shardline", *arguments]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    return result


@contextmanager
def up(bundle: Path, folder: Path, *, render: Sequence[str] = ()) -> Iterator[Up]:
    """Render the bundle into `folder` and run it until the end of the block."""
    shardline("render", str(bundle), "--out", str(folder / "manifests"), *render)
    with up_manifests(folder / "manifests", folder) as started:
        yield started


@contextmanager
def up_manifests(manifests: Path, folder: Path) -> Iterator[Up]:
    """Run what is rendered in `manifests` until the end of the block; the log lies in `folder`."""
    port = free_port()
    command = [sys.executable, "-m", "shardline", "up", str(manifests), "--port", str(port)]
    log = folder / "up.log"
    name = next(manifests.glob("*.yaml")).stem
    url = f"http://127.0.0.1:{port}/v1/models/{name}:predict"
    with running(command, log) as process:
        wait_until(lambda: process.poll() is not None or url in log.read_text(), "the chain")
        assert process.poll() is None, log.read_text()
        yield Up(url, process, log)
        stop(process)
