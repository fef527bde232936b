"""TorchServe 0.12 with the whole model: with one worker per two cores, or with its defaults."""

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.bundles import ROOT
from benchmarks.load import LoadTarget
from benchmarks.processes import ProcessTree, UnavailableError, free_port
from benchmarks.systems.base import BIN, PLAIN_ENV, PYTHON, RAW, START_S, HttpSystem, ensure_peer
from shardline.storage.bundle import WHOLE_FILE
from shardline.storage.bundle_folder import open_bundle

_MODEL = "resnet50"
MODEL_FILE, PICTURE_FILE = "model.pt", "picture.json"  # see write_torchscript
_PREFIX = "model."  # of the weights in a whole, which is the model behind its normalisation
_HANDLER = Path(__file__).with_name("torchserve_handler.py")


@dataclass(kw_only=True)
class TorchServe(HttpSystem):
    """The whole of a bundle as TorchScript. `tuned`: one worker per two cores, each with two threads; else defaults."""

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
        tree = ProcessTree(self.key, command, folder / f"{self.key}.log", env=self._env(home), cwd=home)
        self.trees.append(tree)
        tree.wait_until(lambda: _has_workers(ports["management"]), START_S)
        self.target = LoadTarget(
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
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",  # TorchServe starts its workers with the `python` on PATH
            "TMPDIR": str(
                home
            ),  # two instances cannot share a folder: the second one finds the first one's pid file and exits
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
    """The model store with the archive, made once for both settings."""
    store = folder / "store"
    if (store / f"{_MODEL}.mar").is_file():
        return store
    store.mkdir(parents=True, exist_ok=True)
    _run([sys.executable, "-m", "benchmarks.systems.torchserve", str(bundle), str(folder)])
    files = [
        f"--serialized-file={folder / MODEL_FILE}",
        f"--handler={_HANDLER}",
        f"--extra-files={folder / PICTURE_FILE}",
    ]
    name = [f"--model-name={_MODEL}", "--version=1.0", f"--export-path={store}"]
    # pip writes no script for a package that the project's own environment has already
    _run([str(PYTHON), "-m", "model_archiver.model_packaging", *name, *files])
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


def write_torchscript(bundle_folder: Path, out: Path) -> None:
    """Write model.pt, the bundle's weights in TorchScript, traced and frozen, and picture.json, its preprocessing.

    It runs in a process of its own, so that torch is not loaded in the one that measures.
    """
    import torch
    from torchvision.models import get_model

    from shardline.partition.archive import load_program
    from shardline.storage.bundle import IMAGENET_MEAN, IMAGENET_STD

    bundle = open_bundle(bundle_folder)
    state = load_program(bundle_folder / WHOLE_FILE).state_dict
    weights = {name.removeprefix(_PREFIX): value for name, value in state.items() if name.startswith(_PREFIX)}
    model = get_model(bundle.model.partition(":")[2], weights=None).eval()
    missing, unknown = model.load_state_dict(weights, strict=False)
    left = [name for name in missing if not name.endswith("num_batches_tracked")]  # only counts training steps
    if left or unknown:
        raise SystemExit(f"error: weights do not fit: {left[:3]} are missing, {unknown[:3]} are unknown")
    pixels = torch.zeros(1, 3, bundle.picture.height, bundle.picture.width)
    with torch.inference_mode():
        traced = torch.jit.trace(model, pixels)
        torch.jit.save(torch.jit.freeze(traced), str(out / MODEL_FILE))
    picture = asdict(bundle.picture) | {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    (out / PICTURE_FILE).write_text(json.dumps(picture))


if __name__ == "__main__":
    write_torchscript(Path(sys.argv[1]), Path(sys.argv[2]))
