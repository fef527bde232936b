"""Two-stage chains to deploy to a scripted cluster, without a model."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.kserve_documents import NAMESPACE
from services.scripted import KubernetesApi, ScriptedServer

from shardline.client.cluster import Cluster
from shardline.manifests.options import RenderOptions
from shardline.releases.deploy import Deployed, deploy, rollback
from shardline.releases.history import Release, read_history
from shardline.storage.bundle import (
    GOLDEN_PICTURE_FILE,
    GOLDEN_REPLY_FILE,
    SHARD_FILE,
    Bundle,
    PictureSpec,
    Stage,
    Task,
    TensorSpec,
    stage_folder,
)
from shardline.storage.bundle_folder import writing_bundle
from shardline.wire.limits import Limits

PICTURE = b"\x89PNG of a cat"
PIXELS = TensorSpec(name="pixels", dtype="U8", shape=("batch", 3, 8, 8), dim_order=(0, 1, 2, 3))
FEATURES = TensorSpec(name="relu", dtype="F32", shape=("batch", 8, 2), dim_order=(0, 1, 2))
LOGITS = TensorSpec(name="logits", dtype="F32", shape=("batch", 3), dim_order=(0, 1))
FIRST = Stage(
    index=0, cut="relu", inputs=(PIXELS,), outputs=(FEATURES,), model_ms=1.5, weight_bytes=40, output_bytes=64
)
LAST = Stage(index=1, cut=None, inputs=(FEATURES,), outputs=(LOGITS,), model_ms=2.0, weight_bytes=80, output_bytes=12)


def bundle_at(folder: Path, reply: object | None) -> Bundle:
    """Two stages with files in place of programs; `reply` is the whole model's to PICTURE, None keeps both out."""
    described = Bundle(
        name="chain",
        model="torchvision:small",
        weights="random:0",
        precision="fp32",
        torch_version="2.14.1",
        task=Task(name="classify", labels=("cat", "dog", "owl")),
        picture=PictureSpec(height=8, width=8, resize=9),
        limits=Limits(),
        batch=4,
        max_instances=4,
        threads=1,
        stages=(FIRST, LAST),
    )
    with writing_bundle(folder) as (draft, seal):
        for stage in described.stages:
            (draft / stage_folder(stage.index)).mkdir(parents=True)
            (draft / stage_folder(stage.index) / SHARD_FILE).write_text(folder.name)
        if reply is not None:
            (draft / GOLDEN_PICTURE_FILE).write_bytes(PICTURE)
            (draft / GOLDEN_REPLY_FILE).write_text(json.dumps(reply))
        return seal(described)


def short_digest(bundle: Bundle) -> str:
    return bundle.digest.removeprefix("sha256:")[:8]


def services_of(bundle: Bundle, name: str) -> list[str]:
    return [f"{name}-{short_digest(bundle)}-{stage.index}" for stage in bundle.stages]


@dataclass(frozen=True, slots=True)
class Version:
    """A bundle that is deployed as `name`, and a server that answers as its stages and as a router in front of them."""

    name: str
    folder: Path
    bundle: Bundle
    server: ScriptedServer

    @property
    def short(self) -> str:
        return short_digest(self.bundle)

    @property
    def services(self) -> list[str]:
        return services_of(self.bundle, self.name)

    def asked(self) -> list[tuple[str, bytes]]:
        """(path, body) of all that has come; the server ends."""
        return [(seen.path, seen.body) for seen in self.server.requests()]


@dataclass(frozen=True, slots=True)
class Place:
    """A scripted cluster with KServe in it. `said` is what was reported while it deployed."""

    api: KubernetesApi
    cluster: Cluster
    said: list[str] = field(default_factory=list)

    def deploy(
        self, version: Version, *, timeout_s: float = 30.0, say: Callable[[str], None] | None = None, **options: Any
    ) -> Deployed:
        """`options` are RenderOptions' own; the transformer is stage 0's component unless they say otherwise."""
        options = {"transformer_as": "component"} | options
        rendered = RenderOptions(storage="gs://models/chain", name=version.name, namespace=NAMESPACE, **options)
        tell = say or self.said.append
        return deploy(self.cluster, version.bundle, version.folder, rendered, timeout_s=timeout_s, say=tell)

    def rollback(self, revision: int | None = None, *, timeout_s: float = 30.0) -> Deployed:
        return rollback(self.cluster, "chain", NAMESPACE, revision, timeout_s=timeout_s, say=self.said.append)

    def history(self, name: str = "chain") -> list[Release]:
        return read_history(self.cluster, name, NAMESPACE)

    def phases(self, name: str = "chain") -> list[tuple[int, str]]:
        return [(release.revision, release.phase) for release in self.history(name)]

    def names(self, kind: str) -> list[str]:
        return sorted(found["metadata"]["name"] for found in self.cluster.select(kind, NAMESPACE))

    def graph(self, name: str = "chain") -> list[str]:
        """The services that it leads to."""
        found = self.cluster.get("InferenceGraph", NAMESPACE, name)
        assert found is not None
        return [step["serviceName"] for step in found["spec"]["nodes"]["root"]["steps"]]

    def seen(self, *words: str) -> list[dict[str, Any]]:
        """The requests with any of these in their method and path, in the order in which they came; no dry runs."""
        lines = [(f"{seen['method']} {seen['path']}", seen) for seen in self.api.seen()]
        return [seen for line, seen in lines if any(word in line for word in words) and "dryRun" not in line]
