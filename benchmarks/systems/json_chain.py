"""A plain KServe chain: the same three shards behind servers of KServe's SDK, with v1 JSON between them."""

import base64
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bundles import ROOT
from benchmarks.load import LoadTarget
from benchmarks.processes import ProcessTree, free_port, is_open
from benchmarks.systems.base import ANSWER, PLAIN_ENV, START_S, HttpSystem, graph_json, our_router
from shardline.storage.bundle import stage_folder
from shardline.storage.bundle_folder import open_bundle


@dataclass(kw_only=True)
class JsonChain(HttpSystem):
    """A server for each shard, and a router."""

    bundle: Path

    def start(self, folder: Path) -> None:
        stages = len(open_bundle(self.bundle).stages)
        ports = [free_port() for _ in range(stages)]
        for index, port in enumerate(ports):
            self.trees.append(self._stage(index, port, folder))
        for tree, port in zip(list(self.trees), ports, strict=True):
            tree.wait_until(lambda port=port: is_open(port), START_S)  # type: ignore[misc]  # bound to this port
        port = free_port()
        self.trees.append(our_router(_graph(ports), port, folder / f"{self.key}-router.log"))
        self.target = LoadTarget(
            url=f"http://127.0.0.1:{port}/v1/models/json:predict",
            content_type="application/json",
            bodies=tuple(self._bodies(folder / f"{self.key}-bodies")),
            expected=self.pictures.classes,
            answer=ANSWER,
        )

    def graph_json(self) -> str | None:
        return next((text for tree in self.trees if (text := graph_json(tree)) is not None), None)

    def _stage(self, index: int, port: int, folder: Path) -> ProcessTree:
        command = [
            sys.executable,
            "-m",
            "benchmarks.systems.json_stage",
            f"--model_name=stage-{index}",
            f"--http_port={port}",
            f"--model_dir={self.bundle / stage_folder(index)}",
            "--enable_grpc=false",
        ]
        return ProcessTree(
            f"{self.key} stage {index}", command, folder / f"{self.key}-{index}.log", env=PLAIN_ENV, cwd=ROOT
        )

    def _bodies(self, folder: Path) -> list[str]:
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for picture in self.pictures.files:
            path = folder / f"{picture.stem}.json"
            text = base64.b64encode(picture.read_bytes()).decode()
            path.write_text(json.dumps({"instances": [{"b64": text}]}))
            paths.append(str(path))
        return paths


def _graph(ports: list[int]) -> dict[str, object]:
    """Spec of the InferenceGraph, as KServe's controller passes it to the router."""
    steps = [
        {
            "name": f"stage-{index}",
            "serviceUrl": f"http://127.0.0.1:{port}/v1/models/stage-{index}:predict",
            "dependency": "Hard",
            **({"data": "$response"} if index else {}),
        }
        for index, port in enumerate(ports)
    ]
    return {"nodes": {"root": {"routerType": "Sequence", "steps": steps}}}
