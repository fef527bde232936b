"""Ray Serve with the same three shards: one cluster with two applications (see ray_app.py), measured as two systems."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bundles import ROOT
from benchmarks.load import LoadTarget
from benchmarks.processes import ProcessTree, free_port
from benchmarks.systems.base import PLAIN_ENV, PYTHON, RAW, HttpSystem, ensure_peer

_START_S = 240.0


@dataclass(kw_only=True)
class RayCluster:
    """The running cluster that the applications share."""

    bundle: Path
    say: Callable[[str], None]
    tree: ProcessTree | None = None
    port: int = 0
    temp: str = ""
    users: int = 0

    def start(self, folder: Path) -> ProcessTree:
        self.users += 1
        if self.tree is not None:
            return self.tree
        ensure_peer("ray", self.say)
        self.port = free_port()
        self.temp = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # paths of sockets are limited to 107 bytes
        command = [str(PYTHON), "-m", "benchmarks.systems.ray_app", str(self.bundle), f"--port={self.port}"]
        env = PLAIN_ENV | {"RAY_USAGE_STATS_ENABLED": "0"}
        tree = ProcessTree("ray", [*command, f"--temp={self.temp}"], folder / "ray.log", env=env, cwd=ROOT)
        try:
            tree.wait_until(lambda: "ready" in tree.printed().splitlines(), _START_S)
        except BaseException:
            tree.stop()
            self._clean()
            raise
        self.tree = tree
        return tree

    def stop(self) -> None:
        """Release the cluster; the last application to call it ends it."""
        self.users -= 1
        if self.tree is not None and self.users <= 0:
            self.tree.stop()
            self.tree = None
            self._clean()

    def _clean(self) -> None:
        shutil.rmtree(self.temp, ignore_errors=True)


@dataclass(kw_only=True)
class RayApplication(HttpSystem):
    ray: RayCluster
    application: str

    def start(self, folder: Path) -> None:
        self.trees.append(self.ray.start(folder))
        self.target = LoadTarget(
            url=f"http://127.0.0.1:{self.ray.port}/{self.application}",
            content_type=RAW,
            bodies=tuple(map(str, self.pictures.files)),
            expected=self.pictures.classes,
            answer=("index",),
        )

    def stop(self) -> None:
        self.trees.clear()
        self.ray.stop()
