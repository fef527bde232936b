"""Shardline's chain as a user runs it, by `shardline render` and `shardline up`, behind its own or KServe's router.

`BehindKServeRouter` uses the same running stages with KServe's own router binary. That one listens only on port 8080,
so it is started for each measurement, which takes milliseconds, and killed after it.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from benchmarks.bundles import ROOT, SHARDLINE, shardline
from benchmarks.load import Load, LoadTarget
from benchmarks.processes import ProcessTree, UnavailableError, free_port, is_open
from benchmarks.systems.base import ANSWER, RAW, START_S, HttpSystem, LoadSample, graph_json
from shardline.manifests.documents import read_documents
from shardline.manifests.render import to_yaml

KSERVE_ROUTER_PORT = 8080
_ROUTER_VARIABLE = "SHARDLINE_KSERVE_ROUTER"
_URL = re.compile(r"^http://\S+$", re.MULTILINE)


@dataclass(kw_only=True)
class ShardlineChain(HttpSystem):
    """A bundle as it is rendered, with a few changes.

    Attributes:
        stage_arguments: further arguments of the stages' servers.
        max_queue: queue length of all servers; None: the rendered one.
        replicas: number of replicas by the index of a stage; 1 for all others.
        answer: keys and indexes that lead to the class in the reply.
    """

    bundle: Path
    stage_arguments: Sequence[str] = ()
    max_queue: int | None = None
    replicas: Mapping[int, int] = field(default_factory=dict)
    answer: tuple[str | int, ...] = ANSWER

    def start(self, folder: Path) -> None:
        manifests = folder / f"{self.key}-manifests"
        shardline("render", str(self.bundle), f"--out={manifests}")
        for path in manifests.glob("*.yaml"):
            path.write_text(to_yaml([self._altered(dict(document)) for document in read_documents(path)]))
        command = [*SHARDLINE, "up", str(manifests), f"--port={free_port()}"]
        tree = ProcessTree(self.key, command, folder / f"{self.key}.log", cwd=ROOT)
        self.trees.append(tree)
        tree.wait_until(lambda: _URL.search(tree.printed()) is not None, START_S)
        self.target = LoadTarget(
            url=_URL.findall(tree.printed())[-1],
            content_type=RAW,
            bodies=tuple(map(str, self.pictures.files)),
            expected=self.pictures.classes,
            answer=self.answer,
        )

    def _altered(self, document: dict[str, Any]) -> dict[str, Any]:
        """Set what `render` sets alike for all stages."""
        predictor = document.get("spec", {}).get("predictor", {})
        if "storageUri" in (model := predictor.get("model", {})):
            model["args"] = [*model["args"], *self.stage_arguments]
            count = self.replicas.get(int(model["storageUri"].rpartition("/")[2]), 1)
            predictor |= {"minReplicas": count, "maxReplicas": count}
        if self.max_queue is not None:
            _set_argument(document, "--max_queue", self.max_queue)
        return document

    def graph_json(self) -> str | None:
        """The graph with the addresses of the stages, as passed to our router; None where there is no router."""
        return next((text for tree in self.trees if (text := graph_json(tree)) is not None), None)


def _set_argument(value: object, flag: str, number: int) -> None:
    """Set the flag in all arguments of our servers in a document."""
    if isinstance(value, dict):
        for key, child in value.items():
            if key == "args" and any(word.startswith("--max_body_bytes") for word in child):  # only our servers have it
                child[:] = [*(word for word in child if not word.startswith(f"{flag}=")), f"{flag}={number}"]
            _set_argument(child, flag, number)
    elif isinstance(value, list):
        for child in value:
            _set_argument(child, flag, number)


class RoutedSystem(Protocol):
    """A system behind our router, whose graph another router can use, too."""

    key: str
    trees: list[ProcessTree]
    target: LoadTarget | None

    def start(self, folder: Path) -> None: ...
    def graph_json(self) -> str | None: ...
    def stop(self) -> None: ...


@dataclass(kw_only=True)
class BehindKServeRouter(HttpSystem):
    """The stages of `base`, which is started unless it runs already, behind KServe's router."""

    base: RoutedSystem
    router: ProcessTree | None = None
    folder: Path | None = None
    owns_base: bool = False

    def start(self, folder: Path) -> None:
        kserve_router()
        if is_open(KSERVE_ROUTER_PORT):
            raise UnavailableError(f"KServe's router listens only on port {KSERVE_ROUTER_PORT}, which is in use")
        if self.base.target is None:
            self.owns_base = True
            self.base.start(folder)
        if self.base.graph_json() is None:
            raise UnavailableError(f"{self.base.key} has no router that could be replaced")
        self.folder = folder
        self.trees = self.base.trees.copy()
        self.target = self._target()

    def _target(self) -> LoadTarget:
        assert self.base.target is not None
        url = re.sub(r":\d+/", f":{KSERVE_ROUTER_PORT}/", self.base.target.url, count=1)
        return replace(self.base.target, url=url)

    def pause(self) -> None:
        self._end_router()
        super().pause()

    def measure(self, loads: Sequence[Load], round_: int, warm_s: float) -> list[LoadSample]:
        self._start_router()
        try:
            return super().measure(loads, round_, warm_s)
        finally:
            self._end_router()

    def stop(self) -> None:
        self._end_router()
        if self.owns_base:
            self.base.stop()
        else:
            super().pause()
        self.trees.clear()

    def _start_router(self) -> None:
        assert self.folder is not None
        graph = self.base.graph_json()
        assert graph is not None
        log = self.folder / f"{self.key}-router.log"
        self.router = ProcessTree(f"{self.key} router", [str(kserve_router()), "--graph-json", graph], log)
        self.trees.append(self.router)
        self.router.wait_until(lambda: is_open(KSERVE_ROUTER_PORT), 30)

    def _end_router(self) -> None:
        if self.router is not None:
            self.trees.remove(self.router)
            self.router.kill()  # it sleeps for 30 s after SIGTERM
            self.router = None


def kserve_router() -> Path:
    """Path of the router binary.

    Raises:
        UnavailableError: KServe's router is not on this machine.
    """
    named = os.environ.get(_ROUTER_VARIABLE)
    path = Path(named) if named else Path.home() / ".cache" / "kserve-cluster" / "bin" / "router"
    if not os.access(path, os.X_OK) or path.is_dir():
        raise UnavailableError(
            f"no KServe router at {path}: build cmd/router of KServe and set {_ROUTER_VARIABLE} to its path"
        )
    return path
