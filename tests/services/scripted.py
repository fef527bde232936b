"""Scripted servers as processes of their own: the replies that a test gives them, and the requests they have seen."""

import base64
import json
import queue
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from services.processes import ROOT


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One request as the server saw it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class ScriptedServer:
    def __init__(self, script: dict[str, list[dict[str, Any]]]) -> None:
        program = ROOT / "tests" / "services" / "scripted_server.py"
        command = [sys.executable, str(program), json.dumps(script)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        # a thread reads along: a server that waits for its own output to be read would not answer
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.url = f"http://127.0.0.1:{self._lines.get(timeout=30).strip()}"

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stdout:
            for line in stdout:
                self._lines.put(line)

    def next_request(self) -> Seen:
        """Waits for it."""
        seen = json.loads(self._lines.get(timeout=30))
        return Seen(**{**seen, "body": base64.b64decode(seen["body"])})

    def requests(self) -> list[Seen]:
        """All that came and were not yet taken; the server ends."""
        self.stop()
        return [self.next_request() for _ in range(self._lines.qsize())]

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(timeout=10)
        self._reader.join(timeout=10)


class KubernetesApi:
    """A scripted API server as a process, and a kubeconfig for it."""

    def __init__(self, folder: Path, options: dict[str, Any]) -> None:
        command = [sys.executable, "-m", "services.kubernetes_api", json.dumps(options)]
        self.process = subprocess.Popen(command, cwd=ROOT / "tests", stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        scheme = "https" if "certificate" in options else "http"
        self.url = f"{scheme}://127.0.0.1:{self.process.stdout.readline().strip()}"
        self._verify = options.get("certificate", True)
        self.kubeconfig = folder / "kubeconfig.json"
        self.kubeconfig.write_text(json.dumps(self._config(options)))

    def _config(self, options: dict[str, Any]) -> dict[str, Any]:
        """A kubeconfig is YAML, and JSON is that too."""
        cluster = {"server": self.url} | (
            {"certificate-authority": options["certificate"]} if "certificate" in options else {}
        )
        user = {"token": options["token"]} if "token" in options else {}
        contexts = [
            {"name": "there", "context": {"cluster": "c", "user": "u", "namespace": "vision"}},
            {"name": "elsewhere", "context": {"cluster": "c", "user": "u"}},
        ]
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "there",
            "contexts": contexts,
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": user}],
        }

    def put(self, documents: list[dict[str, Any]]) -> None:
        """These are all that it has, from now on."""
        self._test("PUT", "objects", documents)

    def refuse(self, *refusals: dict[str, Any]) -> None:
        self._test("PUT", "refusals", list(refusals))

    def cut(self) -> None:
        """Break off what is forwarded."""
        self._test("PUT", "cut")

    def seen(self) -> list[dict[str, Any]]:
        """All that have come."""
        found: list[dict[str, Any]] = self._test("GET", "requests").json()
        return found

    def _test(self, method: str, path: str, body: object = None) -> requests.Response:
        response = requests.request(method, f"{self.url}/test/{path}", json=body, timeout=30, verify=self._verify)
        assert response.status_code == 200
        return response

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(timeout=10)
        assert self.process.stdout is not None
        self.process.stdout.close()
