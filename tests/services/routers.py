"""A graph's router as a process: the project's own, or KServe's binary."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from typing import Any

from services.processes import ROOT, free_port, listens, wait_until
from services.steps import Step

KSERVE_ROUTER = os.environ.get("SHARDLINE_KSERVE_ROUTER")
KSERVE_PORT = 8080  # its only one
DEADLINE_S = 15
DRAIN_S = 30.0  # cmd/router/main.go drainSleepDuration

Node = dict[str, Any]


def node(kind: str, *steps: Step | Mapping[str, Any]) -> Node:
    """A node of a graph; a step is a Step or a dictionary as in the manifest."""
    targets = [{"serviceUrl": step.url} if isinstance(step, Step) else dict(step) for step in steps]
    return {"routerType": kind, "steps": targets}


def sequence(*steps: Step | Mapping[str, Any]) -> Node:
    return node("Sequence", *steps)


@dataclass(slots=True)
class Running:
    port: int
    process: "subprocess.Popen[bytes]"
    drain_s: float

    def ask(
        self,
        body: bytes | None = b"{}",
        *,
        method: str = "POST",
        path: str = "/",
        headers: Mapping[str, str] | None = None,
    ) -> tuple[HTTPResponse, bytes]:
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)) as connection:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            response = connection.getresponse()
            return response, response.read()

    def ask_all(self, bodies: Iterable[bytes]) -> list[tuple[int, bytes]]:
        """Status and body of each answer, one after the other on one connection."""
        answers = []
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)) as connection:
            for body in bodies:
                connection.request("POST", "/", body=body)
                response = connection.getresponse()
                answers.append((response.status, response.read()))
        return answers


class Routers:
    """`router(step, step, …)` starts one that runs a Sequence, `router.graph(root=node, …)` any graph."""

    def __init__(self, *, kserve: bool) -> None:
        self._kserve = kserve
        self._started: list[subprocess.Popen[bytes]] = []

    def __call__(
        self,
        *steps: Step | Mapping[str, Any],
        propagate: str | None = None,
        timeouts: Mapping[str, int] | None = None,
        drain_s: float = DRAIN_S,
    ) -> Running:
        return self.graph(propagate=propagate, timeouts=timeouts, drain_s=drain_s, root=sequence(*steps))

    def graph(
        self,
        *,
        propagate: str | None = None,
        timeouts: Mapping[str, int] | None = None,
        drain_s: float = DRAIN_S,
        **nodes: Node,
    ) -> Running:
        """Start a router. Only the project's own takes another `drain_s`; `Running` has the one that holds."""
        spec = {"nodes": nodes} | ({"routerTimeouts": dict(timeouts)} if timeouts else {})
        port, command = self._command(drain_s)
        wait_until(lambda: not listens(port), f"port {port} free", DEADLINE_S)
        process = subprocess.Popen(
            [*command, "--graph-json", json.dumps(spec)], env=_env(propagate), cwd=ROOT, stderr=subprocess.DEVNULL
        )
        self._started.append(process)
        wait_until(lambda: process.poll() is not None or listens(port), "the router listens", DEADLINE_S)
        assert process.poll() is None, f"the router ended with {process.returncode}"
        return Running(port, process, DRAIN_S if self._kserve else drain_s)

    def stop(self) -> None:
        for process in self._started:
            process.kill()
            process.wait()

    def _command(self, drain_s: float) -> tuple[int, list[str]]:
        if self._kserve:
            return KSERVE_PORT, [str(KSERVE_ROUTER)]
        port = free_port()
        module = [sys.executable, "-m", "shardline.manifests.router"]
        return port, [*module, f"--port={port}", *([f"--drain-seconds={drain_s}"] if drain_s != DRAIN_S else [])]


def _env(propagate: str | None) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name != "PROPAGATE_HEADERS"}
    return inherited | ({} if propagate is None else {"PROPAGATE_HEADERS": propagate})
