"""The chain under faults: `shardline up` with short deadlines, its processes by role, and what it leaves behind."""

import re
import shutil
import time
from contextlib import suppress
from pathlib import Path

import psutil

from benchmarks.bundles import ROOT, SHARDLINE, shardline
from benchmarks.chaos.faults import HOST, Victim
from benchmarks.processes import ProcessTree, free_port
from shardline.partition.runtime import Golden
from shardline.storage.bundle import stage_folder
from shardline.storage.bundle_folder import open_bundle
from shardline.storage.user_cache import is_unused
from shardline.wire.frame import Frame, encode

REQUEST_S = 4  # the transformer's deadline
STEP_S = 5  # the router's deadline of one step
WRITE_S = 15  # after which the router closes the connection
DEADLINE_S = 11.0  # of the clients: a step may begin just before the first deadline and hang until the second
START_S = 120.0
UP = "up"
SUPERVISOR = "supervisor"

_READY = re.compile(r"^ready: (http://\S+)$|^(http://\S+)$", re.MULTILINE)


class ChaosChain:
    """A bundle's chain in `folder`, with a copy of the bundle, manifests, log and TMPDIR there; `short`: deadlines."""

    def __init__(self, bundle: Path, folder: Path, *, short: bool = True) -> None:
        self._folder = folder
        self.bundle = folder / "bundle"
        self._temporary = folder / "tmp"
        self._temporary.mkdir(parents=True, exist_ok=True)
        if not self.bundle.exists():
            shutil.copytree(bundle, self.bundle)
        self._manifests = folder / "manifests"
        shardline("render", str(self.bundle), f"--out={self._manifests}")
        for path in self._manifests.glob("*.yaml") if short else ():
            path.write_text(_with_short_deadlines(path.read_text()))
        self.digest = open_bundle(self.bundle).digest
        self.roles: frozenset[str] = frozenset()  # of the processes that belong to it
        self._starts = 0
        self._tree: ProcessTree
        self.url = ""

    def start(self) -> None:
        """
        Raises:
            UnavailableError: it does not become ready.
        """
        self._starts += 1
        command = [*SHARDLINE, "up", str(self._manifests), f"--port={free_port()}", "--threads=1"]
        log = self._folder / f"up-{self._starts}.log"
        self._tree = ProcessTree("up", command, log, env={"TMPDIR": str(self._temporary)}, cwd=ROOT)
        self._tree.wait_until(lambda: _READY.search(self._tree.printed()) is not None, START_S)
        found = _READY.search(self._tree.printed())
        assert found is not None
        self.url = found[1] or found[2]
        self.roles = frozenset(self.victims())

    def stop(self) -> None:
        self._tree.stop()

    def is_running(self) -> bool:
        return psutil.pid_exists(self._tree.pid) and self._up().status() != psutil.STATUS_ZOMBIE

    def victims(self) -> dict[str, Victim]:
        """Return the running processes by role: `up`, `router`, `transformer`, `stage 0`, …"""
        up = self._up()
        found = {UP: Victim(role=UP, process=up, up=up, port=0, folder=None, path="", body=b"")}
        for process in up.children(recursive=True):
            try:
                words = process.cmdline()
            except psutil.Error:
                continue
            if role := _role(words):
                found[role] = self._victim(role, process, words)
        return found

    def _victim(self, role: str, process: psutil.Process, words: list[str]) -> Victim:
        folder = _option(words, "--model_dir")
        name, port = _option(words, "--model_name"), int(_option(words, "--http_port") or _option(words, "--port") or 0)
        return Victim(
            role=role,
            process=process,
            up=self._up(),
            port=port,
            folder=Path(folder) if folder else None,
            path=f"/v1/models/{name or 'x'}:predict",
            body=self._body(role),
        )

    def _body(self, role: str) -> bytes:
        """The golden frame of a stage."""
        if not role.startswith("stage"):
            return b""
        stage = int(role.split()[1])
        inputs = Golden.load(self.bundle / stage_folder(stage)).inputs
        return encode(Frame(tensors=inputs, bundle=self.digest, stage=stage))

    def names(self) -> tuple[str, ...]:
        """Return the texts that name a server in an error: the models' names, and addresses."""
        victims = [victim for victim in self.victims().values() if victim.port]
        models = {_option(victim.process.cmdline(), "--model_name") for victim in victims}
        return (*sorted(models - {""}), *(f"{HOST}:{victim.port}" for victim in victims))

    def processes_left(self) -> list[str]:
        """Return the command lines of processes that work in the temporary folder."""
        left = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.cwd().startswith(str(self._temporary)) and process.status() != psutil.STATUS_ZOMBIE:
                    left.append(" ".join(process.cmdline())[:200])
        return left

    def folders_left(self, older_s: float = 0.0) -> list[str]:
        """Return the names of what lies in the temporary folder and is older than `older_s` seconds."""
        now = time.time()
        return [path.name for path in self._temporary.iterdir() if now - path.stat().st_mtime >= older_s]

    def is_unused(self, name: str) -> bool:
        """Tell whether no process has locked a folder that `folders_left` named."""
        return is_unused(self._temporary / name)

    def _up(self) -> psutil.Process:
        return psutil.Process(self._tree.pid)


def _with_short_deadlines(text: str) -> str:
    text = re.sub(r"--request_timeout_ms=\d+", f"--request_timeout_ms={REQUEST_S * 1000}", text)
    text = re.sub(r"serverWrite: \d+", f"serverWrite: {WRITE_S}", text)
    return re.sub(r"serviceClient: \d+", f"serviceClient: {STEP_S}", text)


def _role(words: list[str]) -> str:
    if "shardline.manifests.supervise" in words:
        return SUPERVISOR
    if "shardline.manifests.router" in words:
        return "router"
    if "shardline.predictors.transformer" in words:
        return "transformer"
    if "shardline.predictors.shard" in words:
        number = _option(words, "--model_name").rpartition("-")[2]
        return f"stage {number if number.isdecimal() else 0}"  # a chain of one stage has no number in the name
    return ""


def _option(words: list[str], name: str) -> str:
    return next((word.partition("=")[2] for word in words if word.startswith(f"{name}=")), "")
