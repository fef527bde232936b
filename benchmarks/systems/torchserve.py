"""TorchServe 0.12 with the whole model: once told to run one worker per two cores, once as it comes."""

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bundles import ROOT
from benchmarks.errors import UnavailableError
from benchmarks.load import Target
from benchmarks.processes import Tree
from benchmarks.systems.base import PLAIN_ENV, Service
from benchmarks.systems.peers import BIN, ensure_peer
from benchmarks.systems.ports import free_port
from benchmarks.systems.shardline import RAW, START_S

_MODEL = "resnet50"
MODEL_FILE, PICTURE_FILE = "model.pt", "picture.json"  # what torchscript.py writes
_HANDLER = Path(__file__).with_name("torchserve_handler.py")


@dataclass(kw_only=True)
class TorchServe(Service):
    """`tuned`: one worker per two cores, each with two threads; otherwise its own defaults."""

    bundle: Path
    tuned: bool
    say: Callable[[str], None]

    def start(self, folder: Path) -> None:
        if shutil.which("java") is None:
            raise UnavailableError("TorchServe needs Java 17: install a JRE (openjdk-17-jre-headless)")
        ensure_peer("torchserve", self.say)
        store = _archive(self.bundle, folder / "torchserve")
        home = folder / self.key
        home.mkdir(parents=True)
        ports = {name: free_port() for name in ("inference", "management", "metrics")}
        (home / "config.properties").write_text(self._config(ports))
        command = [
            str(BIN / "torchserve"),
            "--start",
            "--foreground",
            "--ncs",
            "--disable-token-auth",
            f"--ts-config={home / 'config.properties'}",
            f"--model-store={store}",
            f"--models={_MODEL}={_MODEL}.mar",
        ]
        tree = Tree(self.key, command, folder / f"{self.key}.log", env=self._env(home), cwd=home)
        self.trees.append(tree)
        tree.wait_until(lambda: _has_workers(ports["management"]), START_S)
        self.target = Target(
            url=f"http://127.0.0.1:{ports['inference']}/predictions/{_MODEL}",
            content_type=RAW,
            bodies=tuple(map(str, self.pictures.files)),
            expected=self.pictures.classes,
            answer=("index",),
        )

    def _config(self, ports: dict[str, int]) -> str:
        lines = [f"{name}_address=http://127.0.0.1:{port}" for name, port in ports.items()]
        lines += [f"grpc_{name}_port={free_port()}" for name in ("inference", "management")]
        lines += [
            f"initial_worker_port={free_port()}"
        ]  # names the workers' sockets, which two instances must not share
        lines += [f"default_workers_per_model={_workers()}"] if self.tuned else []
        return "\n".join(lines) + "\n"

    def _env(self, home: Path) -> dict[str, str | None]:
        env = PLAIN_ENV | {
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",  # it starts its workers with the `python` on PATH
            "TMPDIR": str(home),  # a second one finds the first one's pid in the same folder, and gives up
            "TEMP": str(home),
            "LOG_LOCATION": str(home / "logs"),
            "METRICS_LOCATION": str(home / "logs"),
        }
        return env | ({"OMP_NUM_THREADS": str(max(1, _cores() // _workers()))} if self.tuned else {})


def _cores() -> int:
    return os.cpu_count() or 1


def _workers() -> int:
    return max(1, _cores() // 2)


def _archive(bundle: Path, folder: Path) -> Path:
    """The model store with the archive; made once for both."""
    store = folder / "store"
    if (store / f"{_MODEL}.mar").is_file():
        return store
    store.mkdir(parents=True, exist_ok=True)
    _run([sys.executable, "-m", "benchmarks.systems.torchscript", str(bundle), str(folder)])
    files = [
        f"--serialized-file={folder / MODEL_FILE}",
        f"--handler={_HANDLER}",
        f"--extra-files={folder / PICTURE_FILE}",
    ]
    name = [f"--model-name={_MODEL}", "--version=1.0", f"--export-path={store}"]
    _run([str(BIN / "torch-model-archiver"), *name, *files])
    return store


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise UnavailableError(f"{Path(command[0]).name} failed: {(done.stderr or done.stdout).strip()[-300:]}")


def _has_workers(port: int) -> bool:
    with suppress(OSError, ValueError, LookupError):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/models/{_MODEL}", timeout=5) as reply:
            workers = json.load(reply)[0]["workers"]
        return bool(workers) and all(worker["status"] == "READY" for worker in workers)
    return False
