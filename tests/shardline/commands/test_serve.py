"""`shardline render`: every option reaches the documents, and every mistake is one line."""

from pathlib import Path

import pytest
import yaml
from services.cli import run_command as shardline
from services.processes import ROOT

from shardline.manifests.access import BucketAccess
from shardline.manifests.network import Exposure, Network
from shardline.manifests.options import Overrides, RenderOptions
from shardline.manifests.placement import Placement, Toleration
from shardline.manifests.render import read_described, render
from shardline.manifests.scaling import Scaling

BUNDLE = ROOT / "manifests" / "resnet50" / "bundle.json"
WORDS = """
    --storage s3://b/m --name net --namespace prod --versioned
    --image a/shard:1 --transformer-image a/transformer:1 --pull-policy Always --pull-secret registry
    --cpu-request 100m --cpu-request stages=200m --cpu-limit stages=1 --memory-request router=300Mi
    --memory-limit stages=3Gi --gpu --node-selector pool=big --node-selector disk=fast
    --toleration team=vision:NoSchedule --spread kubernetes.io/hostname --colocate
    --replicas 2 --autoscaler keda --max-replicas 5 --prometheus http://prometheus:9090 --requests-per-pod 3
    --service-account fetcher --workload-identity fetcher@my-project.iam.gserviceaccount.com
    --allow-namespace monitoring --ingress-host net.example.com --gateway infra/public
"""
OPTIONS = RenderOptions(
    storage="s3://b/m",
    name="net",
    namespace="prod",
    versioned=True,
    image="a/shard:1",
    transformer_image="a/transformer:1",
    image_pull_policy="Always",
    image_pull_secret="registry",
    stages=Overrides(cpu_request_m=200, cpu_limit_m=1000, memory_limit_mib=3072),
    transformer=Overrides(cpu_request_m=100),
    router=Overrides(cpu_request_m=100, memory_request_mib=300),
    placement=Placement(
        gpu_resource="nvidia.com/gpu",
        node_selector={"pool": "big", "disk": "fast"},
        tolerations=(Toleration(key="team", value="vision", effect="NoSchedule"),),
        spread=("kubernetes.io/hostname",),
        colocate=True,
    ),
    scaling=Scaling(
        replicas=2, autoscaler="keda", max_replicas=5, prometheus="http://prometheus:9090", requests_per_pod=3
    ),
    access=BucketAccess(service_account="fetcher", workload_identity="fetcher@my-project.iam.gserviceaccount.com"),
    network=Network(allow_namespaces=("monitoring",)),
    exposure=Exposure(host="net.example.com", gateway="infra/public"),
)


def test_every_option_reaches_the_documents(tmp_path: Path) -> None:
    path = Path(shardline("render", str(BUNDLE), "--out", str(tmp_path), *WORDS.split()).stdout.strip())

    assert path == tmp_path / "net.yaml"
    assert list(yaml.safe_load_all(path.read_text())) == render(read_described(BUNDLE), OPTIONS)
    assert f"# written by: shardline render {BUNDLE} --out" in path.read_text()


def test_the_options_that_exclude_those(tmp_path: Path) -> None:
    words = "--storage gs://b/m --mode knative --gcs-secret key --gpu-resource nvidia.com/mig-1g.10gb"
    shardline("render", str(BUNDLE), "--out", str(tmp_path), *words.split(), "--no-network-policy", "--kustomize")
    options = RenderOptions(storage="gs://b/m", mode="knative", access=BucketAccess(gcs_secret="key"))

    assert list(yaml.safe_load_all((tmp_path / "base" / "resnet50.yaml").read_text())) == render(
        read_described(BUNDLE), options
    )
    assert "nvidia.com/mig-1g.10gb" in (tmp_path / "overlays" / "gpu" / "stages.yaml").read_text()


MISTAKES = {
    "--cpu-request 1,5": "'1,5' is not an amount of CPU: write it as 500m or 2",
    "--cpu-request 2 --cpu-limit 1": "the CPU request 2000m is above the limit 1000m",
    "--node-selector big": "the node selector 'big' has no '=': write it as key=value",
    "--replicas 0": "0 replicas cannot serve requests: give 1 or more",
    "--gateway public": "give --ingress-host",
    "--mode serverless": "'serverless' is not a mode: choose standard, knative",
    "--name Net": "the name 'Net' is not allowed",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_one_line_and_nothing_is_written(tmp_path: Path, words: str) -> None:
    arguments = ("render", str(BUNDLE), "--storage", "gs://b/m", "--out", str(tmp_path / "out"), *words.split())
    result = shardline(*arguments, code=1)

    assert MISTAKES[words] in " ".join(result.stderr.split())
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()
