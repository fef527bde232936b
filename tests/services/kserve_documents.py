"""Documents of a chain that KServe runs in Standard mode, as the API server returns them."""

import json
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

Document = dict[str, Any]

NAMESPACE = "vision"
DIGEST = "--bundle_digest=0123abcd"


def condition(type_: str, status: str = "True", reason: str = "", message: str = "") -> Document:
    said = {key: value for key, value in (("reason", reason), ("message", message)) if value}
    return {"type": type_, "status": status, **said}


def metadata(name: str, *, labels: dict[str, str] | None = None, generation: int = 1) -> Document:
    return {
        "name": name,
        "namespace": NAMESPACE,
        "generation": generation,
        "labels": dict(labels or {}),
        "annotations": {"serving.kserve.io/deploymentMode": "Standard"},
        "creationTimestamp": "2026-11-21T12:00:00Z",
    }


def graph(name: str = "resnet50", services: Sequence[str] = ("resnet50-s0", "resnet50-s1")) -> Document:
    steps = [
        {"name": one, "serviceName": one, "dependency": "Hard"} | ({"data": "$response"} if index else {})
        for index, one in enumerate(services)
    ]
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "InferenceGraph",
        "metadata": metadata(name, labels={"app.kubernetes.io/managed-by": "shardline"}),
        "spec": {"nodes": {"root": {"routerType": "Sequence", "steps": steps}}},
        "status": {
            "conditions": [condition("Ready"), condition("Stopped", "False")],
            "url": f"http://{name}-{NAMESPACE}.example.com",
        },
    }


def service(name: str, *, transformer: bool = False) -> Document:
    conditions = [condition("IngressReady"), condition("PredictorReady"), condition("Ready")]
    spec: Document = {"predictor": {"model": {"runtime": "resnet50", "args": [DIGEST]}}}
    if transformer:
        spec["transformer"] = {"containers": [{"name": "kserve-container", "args": ["--input_size=224x224"]}]}
        conditions.append(condition("TransformerReady"))
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": metadata(name, labels={"app.kubernetes.io/managed-by": "shardline"}),
        "spec": spec,
        "status": {
            "conditions": [*conditions, condition("Stopped", "False")],
            "deploymentMode": "Standard",
            "modelStatus": {"transitionStatus": "UpToDate", "states": {"activeModelState": "Loaded"}},
            "url": f"http://{name}-predictor-{NAMESPACE}.example.com",
        },
    }


def deployment(name: str, labels: dict[str, str], arguments: Sequence[str], *, replicas: int = 1) -> Document:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(name, labels=labels | {"app": f"isvc.{name}"}, generation=2),
        "spec": {
            "replicas": replicas,
            "template": {"spec": {"containers": [{"name": "kserve-container", "args": list(arguments)}]}},
        },
        "status": {
            "observedGeneration": 2,
            "replicas": replicas,
            "updatedReplicas": replicas,
            "readyReplicas": replicas,
            "availableReplicas": replicas,
            "conditions": [condition("Available"), condition("Progressing", reason="NewReplicaSetAvailable")],
        },
    }


def pod(name: str, labels: dict[str, str], *, container: str = "kserve-container") -> Document:
    running = {"name": container, "ready": True, "restartCount": 0, "state": {"running": {}}, "lastState": {}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(name, labels=labels),
        "spec": {"containers": [{"name": container, "ports": [{"name": "http", "containerPort": 8080}]}]},
        "status": {
            "phase": "Running",
            "conditions": [condition("PodScheduled"), condition("Ready")],
            "containerStatuses": [running],
        },
    }


def kubernetes_service(name: str, *, target: int | str = 8080) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(name),
        "spec": {"selector": {"app": f"isvc.{name}"}, "ports": [{"port": 80, "targetPort": target}]},
    }


def runtime(name: str = "resnet50") -> Document:
    return {"apiVersion": "serving.kserve.io/v1alpha1", "kind": "ServingRuntime", "metadata": metadata(name)}


def part(name: str, labels: dict[str, str], arguments: Sequence[str], *, replicas: int = 1) -> list[Document]:
    """A Deployment, its pods, and the Service in front of them."""
    pods = [pod(f"{name}-{index}", labels | {"app": f"isvc.{name}"}) for index in range(replicas)]
    return [deployment(name, labels, arguments, replicas=replicas), *pods, kubernetes_service(name)]


def stage(name: str, *, transformer: bool = False, replicas: int = 1) -> list[Document]:
    """One InferenceService with all that KServe and Kubernetes made of it."""
    owner = {"serving.kserve.io/inferenceservice": name}
    documents = [service(name, transformer=transformer)]
    if transformer:
        arguments = ["--input_size=224x224", "--model_name", name]
        documents += part(f"{name}-transformer", owner | {"component": "transformer"}, arguments, replicas=replicas)
    arguments = ["--model_dir=/mnt/models", DIGEST]
    return documents + part(f"{name}-predictor", owner | {"component": "predictor"}, arguments, replicas=replicas)


def router(of: Document, *, replicas: int = 1) -> list[Document]:
    """What KServe makes of a graph: the chain is an argument, with each service's URL in it."""
    spec = deepcopy(of["spec"])
    for step in spec["nodes"]["root"]["steps"]:
        step["serviceUrl"] = f"http://{step['serviceName']}-predictor.{NAMESPACE}.svc.cluster.local/v1/models/x:predict"
    name = of["metadata"]["name"]
    arguments = ["--graph-json", json.dumps(spec)]
    return part(name, {"serving.kserve.io/inferencegraph": name}, arguments, replicas=replicas)


def chain(*, replicas: int = 1) -> list[Document]:
    """Two stages behind a graph, all of it ready."""
    whole = graph()
    stages = [*stage("resnet50-s0", transformer=True, replicas=replicas), *stage("resnet50-s1", replicas=replicas)]
    return [whole, *router(whole, replicas=replicas), runtime(), *stages]


def find(documents: Sequence[Document], kind: str, name: str) -> Document:
    return next(one for one in documents if (one["kind"], one["metadata"]["name"]) == (kind, name))


def set_condition(document: Document, type_: str, status: str, reason: str = "", message: str = "") -> None:
    others = [one for one in document["status"]["conditions"] if one["type"] != type_]
    document["status"]["conditions"] = [*others, condition(type_, status, reason, message)]


def away(documents: Sequence[Document], name: str, *, available: int = 0) -> Document:
    """The Deployment `name` has only so many pods available; gives its first pod, which is not ready."""
    found = find(documents, "Deployment", name)
    found["status"] |= {"readyReplicas": available, "availableReplicas": available}
    set_condition(found, "Available", "False", "MinimumReplicasUnavailable")
    lost = find(documents, "Pod", f"{name}-0")
    set_condition(lost, "Ready", "False", "ContainersNotReady")
    lost["status"]["containerStatuses"][0] |= {"ready": False}
    return lost
