"""A bundle -> one YAML file that `kubectl apply -f` and `shardline up` take alike."""

import re
import shlex
from pathlib import Path
from typing import Any

import yaml

from manifests import resources, sizing
from manifests.names import check_names
from manifests.resources import Document
from storage.bundle import Bundle, stage_folder
from wire.errors import ManifestError

IMAGE = "shardline/shard:0.1.0"
TRANSFORMER_IMAGE = "shardline/transformer:0.1.0"

# pkg/controller/v1beta1/inferenceservice/utils/utils.go SupportedStorageURIPrefixList
_STORAGE = re.compile(r"(gs|s3|pvc|file|https?|hdfs|webhdfs|oci|oci\+native|oci\+fetch|hf)://.+")


def documents(
    bundle: Bundle,
    storage: str,
    *,
    name: str | None = None,
    namespace: str = "default",
    image: str = IMAGE,
    transformer_image: str = TRANSFORMER_IMAGE,
    replicas: int = 1,
) -> list[Document]:
    """The bundle's Kubernetes documents, in the order in which to apply them.

    Args:
        storage: URI of the pushed bundle; stage i is fetched from `<storage>/stages/<i>`.
        name: of the chain; the bundle's own by default. K > 1 stages are `<name>-<i>`, a single one is `<name>`.
        replicas: of each stage and of the transformer.

    Raises:
        ManifestError: a name, URI or number that KServe would refuse.
    """
    app = bundle.name if name is None else name
    names = [app] if len(bundle.stages) == 1 else [f"{app}-{stage.index}" for stage in bundle.stages]
    check_names(app, namespace, services=names, graph=len(names) > 1)
    _check(storage, replicas)
    times = sizing.timeouts(bundle)
    front = resources.transformer(
        bundle,
        service=names[0],
        image=transformer_image,
        compute=sizing.transformer_compute(bundle),
        timeout_s=times.service_client_s,
        request_timeout_ms=times.request_ms,
        replicas=replicas,
    )
    services = [
        resources.inference_service(
            bundle,
            stage.index,
            name=names[stage.index],
            app=app,
            namespace=namespace,
            storage_uri=f"{storage.rstrip('/')}/{stage_folder(stage.index)}",
            compute=sizing.stage_compute(bundle, stage),
            timeout_s=times.service_client_s,
            replicas=replicas,
            transformer=front if stage.index == 0 else None,
        )
        for stage in bundle.stages
    ]
    graph = resources.inference_graph(name=app, namespace=namespace, services=names, timeouts=times)
    runtime = resources.serving_runtime(name=app, namespace=namespace, image=image)
    return [runtime, *services, *([graph] if len(names) > 1 else [])]


def render(
    bundle: Bundle,
    out: Path,
    *,
    storage: str,
    name: str | None = None,
    namespace: str = "default",
    image: str = IMAGE,
    transformer_image: str = TRANSFORMER_IMAGE,
    replicas: int = 1,
    command: str | None = None,
) -> Path:
    """Write `<out>/<name>.yaml` and give its path back; the other arguments are those of `documents`.

    `command` is the command line that the header tells to write the file again.

    Raises:
        ManifestError: as `documents`, or the file cannot be written.
    """
    rendered = documents(
        bundle,
        storage,
        name=name,
        namespace=namespace,
        image=image,
        transformer_image=transformer_image,
        replicas=replicas,
    )
    path = out / f"{name or bundle.name}.yaml"
    text = _header(bundle, command or _command(bundle, storage, out, name, namespace)) + to_yaml(rendered)
    try:
        out.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as exc:
        raise ManifestError(f"{path} cannot be written ({exc.strerror}): choose another --out") from exc
    return path


def to_yaml(rendered: list[Document]) -> str:
    """Block style, keys in the order in which they were put, lists indented as `kubectl` users write them."""
    return yaml.dump_all(rendered, Dumper=_Dumper, sort_keys=False, width=120, explicit_start=True)


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 PyYAML's signature
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 a reader should not have to look up anchors
        return True


def _header(bundle: Bundle, command: str) -> str:
    stages = "1 stage" if len(bundle.stages) == 1 else f"{len(bundle.stages)} stages"
    lines = [
        f"{bundle.model}, {bundle.weights} weights, {bundle.precision}, {stages}",
        f"bundle {bundle.digest}",
        f"written by: {command}",
    ]
    return "".join(f"# {' '.join(line.split())}\n" for line in lines)


def _command(bundle: Bundle, storage: str, out: Path, name: str | None, namespace: str) -> str:
    words = ["shardline", "render", bundle.name, "--storage", storage, "--out", str(out)]
    words += ["--name", name] if name else []
    words += ["--namespace", namespace] if namespace != "default" else []
    return shlex.join(words)


def _check(storage: str, replicas: int) -> None:
    if not _STORAGE.fullmatch(storage):
        raise ManifestError(
            f"the storage URI {storage!r} is none that KServe takes: give gs://…, s3://…, pvc://… or file:///… "
            "with --storage"
        )
    if replicas < 1:
        raise ManifestError(f"{replicas} replicas cannot answer: give 1 or more")
