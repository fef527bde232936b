"""Scripted controllers of KServe and Kubernetes: they make Pods and Deployments for the scripted API server.

Time is counted in looks: a list of Pods is one. Pods and their Deployments are made as soon as something is applied,
and ready from the second look on. A router whose chain has changed is seen by one look more, beside the new one.

    {"ports": {"0123abcd": 4711}, "broken": {"resnet50-0123abcd-1-predictor": "error: …"}, "router_stays": true}

`ports` says who on this machine answers for the pods of a bundle, given by its short digest. Pods of the `broken`
Deployments end with that message. With `router_stays` a router never goes.
"""

import json
import zlib
from typing import Any

from services import kserve_documents as kserve

Document = dict[str, Any]

_LOOKS_TO_READY = 1
_LOOKS_TO_GO = 2


class Controller:
    """`objects` is what the API server holds; it is changed in place."""

    def __init__(self, objects: list[Document], options: Document) -> None:
        self._objects = objects
        self._ports = options.get("ports", {})
        self._broken = options.get("broken", {})
        self._router_stays = options.get("router_stays", False)
        self._made: dict[tuple[str, str], list[Document]] = {}
        self._starting: list[tuple[int, Document]] = []  # looks that are left, and what is ready then
        self._going: list[tuple[int, Document]] = []

    def reconcile(self) -> None:
        """After a change: make what is missing, take away what nobody owns. What was just applied has no status."""
        owners = {(one["kind"], one["metadata"]["name"]): one for one in self._objects if one["kind"] in _PARTS}
        for key in self._made.keys() - owners.keys():
            self._remove(self._made.pop(key))
        for key, owner in owners.items():
            if "status" not in owner:
                owner["status"] = _STATUS[owner["kind"]](owner)
                self._roll_out(key, owner)

    def look(self) -> None:
        """A list of Pods was answered."""
        self._starting = [(looks - 1, one) for looks, one in self._starting]
        self._going = [(looks - 1, one) for looks, one in self._going]
        for looks, one in self._starting:
            if looks == 0:
                _set_ready(one, ready=True)
        self._remove([one for looks, one in self._going if looks == 0])

    def _roll_out(self, key: tuple[str, str], owner: Document) -> None:
        old, new = self._made.get(key, []), _PARTS[owner["kind"]](owner)
        if _pods(old) == _pods(new):
            return
        self._remove([one for one in old if one["kind"] != "Pod"])
        for pod in (one for one in old if one["kind"] == "Pod" and not self._router_stays):
            pod["metadata"]["deletionTimestamp"] = "2026-11-21T12:30:00Z"
            self._going.append((_LOOKS_TO_GO, pod))
        port = self._ports.get(owner["metadata"]["labels"].get("shardline/bundle"), 1)
        for one in new:
            one["metadata"]["annotations"]["test/port-8080"] = str(port)
            self._start(one)
        self._objects += new
        self._made[key] = new

    def _start(self, one: Document) -> None:
        if one["kind"] == "Service":
            return
        _set_ready(one, ready=False)
        message = next((text for name, text in self._broken.items() if one["metadata"]["name"].startswith(name)), "")
        if not message:
            self._starting.append((_LOOKS_TO_READY, one))
        elif one["kind"] == "Pod":
            ended = {"terminated": {"exitCode": 1, "reason": "Error", "message": message}}
            waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
            one["status"]["containerStatuses"][0] |= {"restartCount": 3, "state": waiting, "lastState": ended}

    def _remove(self, documents: list[Document]) -> None:
        gone = {id(one) for one in documents}
        self._objects[:] = [one for one in self._objects if id(one) not in gone]


def _graph_status(owner: Document) -> Document:
    return dict(kserve.graph(owner["metadata"]["name"])["status"])


def _service_status(owner: Document) -> Document:
    return dict(kserve.service(owner["metadata"]["name"], transformer="transformer" in owner["spec"])["status"])


def _graph_parts(owner: Document) -> list[Document]:
    return _renamed(kserve.router(owner))


def _service_parts(owner: Document) -> list[Document]:
    """A Deployment, a pod and a Service of each component, with the arguments that its document gives it."""
    name, parts = owner["metadata"]["name"], []
    for role in ("transformer", "predictor"):
        if role in owner["spec"]:
            spec = owner["spec"][role]
            container = spec.get("model") or spec["containers"][0]
            labels = {"serving.kserve.io/inferenceservice": name, "component": role}
            parts += kserve.part(f"{name}-{role}", labels, ["--model_dir=/mnt/models", *container["args"]])
    return _renamed(parts)


def _renamed(parts: list[Document]) -> list[Document]:
    """Pods are named after what they run, and have its arguments."""
    arguments = []
    for one in parts:
        if one["kind"] == "Deployment":
            arguments = one["spec"]["template"]["spec"]["containers"][0]["args"]
        elif one["kind"] == "Pod":
            one["metadata"]["name"] += f"-{zlib.crc32(json.dumps(arguments).encode()):08x}"
            one["spec"]["containers"][0]["args"] = arguments
    return parts


def _pods(parts: list[Document]) -> set[str]:
    return {one["metadata"]["name"] for one in parts if one["kind"] == "Pod"}


def _set_ready(one: Document, *, ready: bool) -> None:
    if one["kind"] == "Deployment":
        one["status"] |= {"readyReplicas": int(ready), "availableReplicas": int(ready)}
    else:
        kserve.set_condition(one, "Ready", str(ready))
        one["status"]["containerStatuses"][0] |= {"ready": ready}


_PARTS = {"InferenceGraph": _graph_parts, "InferenceService": _service_parts}
_STATUS = {"InferenceGraph": _graph_status, "InferenceService": _service_status}
