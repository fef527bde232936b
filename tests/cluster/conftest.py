"""A real cluster with a real KServe: whatever KUBECONFIG points to, and only where it is meant to be used.

    make e2e        SHARDLINE_E2E=1 pytest tests/cluster

Everything happens in a namespace made for the run, which is deleted at the end. Bundles are pushed to
$SHARDLINE_E2E_BUCKET (default gs://models/e2e); with STORAGE_EMULATOR_HOST set, that is an emulator which the cluster's
storage initializer must know of, too, and which is started here if nothing answers there yet.
"""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests
import torch
from e2e.conftest import shardline
from services.processes import ROOT, running, wait_until

from shardline.client.cluster import Cluster, connect
from shardline.client.labels import Document
from shardline.client.port_forward import PortForward
from shardline.partition.verify import LocalChain
from shardline.predictors.picture import pixel_batch
from shardline.storage.bundle import Bundle
from shardline.storage.bundle_folder import open_bundle
from shardline.tasks.registry import task_reply
from shardline.tasks.request import Request

NAME = "resnet50"
WAIT = ("--wait", "300")
# A small node has less CPU than the pods of two versions would like to be sure of; what they may use stays.
SMALL = ("--cpu-request", "50m")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not os.environ.get("SHARDLINE_E2E"):
        reason = "needs a cluster with KServe: KUBECONFIG=… make e2e"
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=reason))


@dataclass(frozen=True, slots=True)
class Version:
    """A bundle on this machine, and what the whole model replies with as many threads as a stage has."""

    folder: Path
    bundle: Bundle

    def replies(self, pictures: list[bytes]) -> list[dict[str, object]]:
        chain = LocalChain(self.folder)
        before = torch.get_num_threads()
        torch.set_num_threads(self.bundle.threads)
        try:
            return [self._reply(chain, picture) for picture in pictures]
        finally:
            torch.set_num_threads(before)

    def _reply(self, chain: LocalChain, picture: bytes) -> dict[str, object]:
        pixels: np.ndarray = pixel_batch([picture], self.bundle.picture, self.bundle.limits)
        outputs = chain.run_reference(pixels)[-1]
        predictions = task_reply(self.bundle.task.name)(Request(outputs=outputs, labels=self.bundle.task.labels))
        return {"predictions": json.loads(json.dumps(predictions))}


@dataclass(frozen=True, slots=True)
class Place:
    """The run's own namespace and where its bundles go."""

    cluster: Cluster
    namespace: str
    bucket: str

    def deploy(self, folder: Path, *options: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
        words = ("--to", self.bucket, "--namespace", self.namespace, "--name", NAME, *SMALL, *options)
        return shardline(
            "deploy", str(folder), *(() if "--wait" in options else WAIT), *words, code=code, timeout_s=900
        )

    def shardline(self, *words: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
        return shardline(*words, "--namespace", self.namespace, code=code, timeout_s=900)

    def pods(self, labels: str = "") -> list[Document]:
        """Those that are not on their way out."""
        pods = self.cluster.select("Pod", self.namespace, labels=labels)
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def stage_pods(self, version: Version, index: int, component: str = "predictor") -> list[Document]:
        name = stage_name(version, index)
        return self.pods(f"serving.kserve.io/inferenceservice={name},component={component}")


def stage_name(version: Version, index: int) -> str:
    return f"{NAME}-{version.bundle.digest.removeprefix('sha256:')[:8]}-{index}"


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    cluster = connect()
    namespace = f"shardline-e2e-{uuid.uuid4().hex[:6]}"
    bucket = os.environ.get("SHARDLINE_E2E_BUCKET", "gs://models/e2e")
    with ExitStack() as stack:
        _start_emulator(stack, tmp_path_factory.mktemp("emulator"), bucket)
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        stack.callback(cluster.delete, "Namespace", "", namespace)
        yield Place(cluster, namespace, bucket)


def _start_emulator(stack: ExitStack, folder: Path, bucket: str) -> None:
    url = os.environ.get("STORAGE_EMULATOR_HOST")
    if not url or _answers(url):
        return
    parts = urlsplit(url)
    words = ("--folder", str(folder), "--bucket", urlsplit(bucket).netloc)
    command = [sys.executable, "-m", "shardline", "emulator", *words]
    log = folder / "log"
    stack.enter_context(running([*command, "--host", str(parts.hostname), "--port", str(parts.port)], log))
    wait_until(lambda: _answers(url), f"the emulator at {url}")


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/storage/v1/b", timeout=5).ok
    except requests.RequestException:
        return False


@pytest.fixture(scope="session")
def first(tmp_path_factory: pytest.TempPathFactory) -> Version:
    return _built(tmp_path_factory.mktemp("first") / NAME, seed=0)


@pytest.fixture(scope="session")
def second(tmp_path_factory: pytest.TempPathFactory) -> Version:
    return _built(tmp_path_factory.mktemp("second") / NAME, seed=1)


def _built(folder: Path, seed: int) -> Version:
    weights = ("--weights", f"random:{seed}")
    shardline("build", "torchvision:resnet50", *weights, "--stages", "3", "--out", str(folder))
    return Version(folder, open_bundle(folder))


@pytest.fixture(scope="session")
def photo_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    shardline("samples", str(folder))
    return [folder / name for name in ("chelsea.png", "coffee.png", "rocket.jpg")]


@pytest.fixture(scope="session")
def photos(photo_files: list[Path]) -> list[bytes]:
    return [path.read_bytes() for path in photo_files]


@pytest.fixture(scope="module")
def deployed(place: Place, first: Version) -> Iterator[str]:
    """The first version, answering; what `deploy` printed."""
    result = place.deploy(first.folder)
    yield result.stdout
    place.shardline("undeploy", NAME)


@pytest.fixture
def url(place: Place, deployed: str) -> Iterator[str]:  # noqa: ARG001  the chain must be there
    """The router's Service: its own address where that is reached from here, else a forwarded port."""
    service = place.cluster.get("Service", place.namespace, NAME)
    assert service is not None
    address = f"http://{service['spec']['clusterIP']}/"
    try:
        requests.get(address, timeout=3)
        yield address
    except requests.RequestException:
        with PortForward(place.cluster, place.namespace, NAME) as forward:
            yield forward.url


def client_request(picture: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """The client as a script, from a folder of its own."""
    command = [sys.executable, str(ROOT / "client" / "request.py"), str(picture), *words]
    return subprocess.run(command, cwd=picture.parent, capture_output=True, text=True, timeout=300, check=False)
