"""A bundle -> one YAML file that `kubectl apply -f` and `shardline up` take alike."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from shardline.manifests import resources, sizing
from shardline.manifests.names import Document, names_of
from shardline.manifests.options import RenderOptions
from shardline.manifests.placement import GPU
from shardline.manifests.scaling import disruption_budgets
from shardline.storage.bundle import Bundle, parse_bundle
from shardline.storage.bundle_folder import open_bundle
from shardline.wire.errors import ManifestError


def read_described(path: Path) -> Bundle:
    """What is at `path`: a bundle's folder, all of whose files are checked, or a bundle.json alone, which says enough.

    Raises:
        BundleError: not a whole bundle.
        ManifestError: the file cannot be read.
    """
    if not path.is_file():
        return open_bundle(path)
    try:
        return parse_bundle(path.read_bytes())
    except OSError as exc:
        raise ManifestError(f"{path} cannot be read ({exc.strerror}): give a bundle's folder or bundle.json") from exc


def render(bundle: Bundle, options: RenderOptions) -> list[Document]:
    """The bundle's Kubernetes documents, in the order in which to apply them: pods start behind closed doors.

    K > 1 stages are `<name>-<i>`, a single one is `<name>`; versioned ones are `<name>-<short digest>-<i>`. A
    transformer that is a step of its own is `<name>-pre`.

    Raises:
        ManifestError: a name that KServe or Kubernetes would refuse.
    """
    names = names_of(
        bundle,
        name=options.name,
        namespace=options.namespace,
        versioned=options.versioned,
        transformer_step=options.transformer_step(len(bundle.stages)),
    )
    times = sizing.timeouts(bundle)
    written = [
        *options.access.documents(names),
        *([] if options.knative else options.network.documents(names)),
        resources.serving_runtime(names, options),
        *resources.transformer_step(bundle, names, options, times),
        *(resources.inference_service(bundle, stage, names, options, times) for stage in bundle.stages),
    ]
    if names.graph:
        written.append(resources.inference_graph(names, names.graph, bundle, options, times))
    if not options.knative:
        written += disruption_budgets(names, options.scaling)
    return written + options.exposure.documents(names, times, bundle.limits.body_bytes)


def write_chain(bundle: Bundle, out: Path, options: RenderOptions, *, command: str | None = None) -> Path:
    """Write `<out>/<name>.yaml` and give its path back.

    `command` is the command line that the header tells to write the file again.

    Raises:
        ManifestError: as `documents`, or the file cannot be written.
    """
    path = out / f"{options.name or bundle.name}.yaml"
    _write(path, _header(bundle, command) + to_yaml(render(bundle, options)))
    return path


def _write(path: Path, text: str) -> None:
    """
    Raises:
        ManifestError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as exc:
        raise ManifestError(f"{path} cannot be written ({exc.strerror}): choose another --out") from exc


def to_yaml(rendered: list[Document]) -> str:
    """Block style, keys in the order in which they were put, lists indented as `kubectl` users write them."""
    return yaml.dump_all(rendered, Dumper=_Dumper, sort_keys=False, width=120, explicit_start=True)


# Words that Go's YAML, which kubectl reads, takes for a number or a boolean, and PyYAML for neither: 12e34567, 0o7, y.
_AMBIGUOUS = re.compile(r"[-+]?(\.?[0-9][0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9]+)?|0[xob][0-9a-fA-F_]+)|[yYnN]")


class _Dumper(yaml.SafeDumper):
    def represent_str(self, data: str) -> yaml.ScalarNode:
        style = '"' if _AMBIGUOUS.fullmatch(data) else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 PyYAML's signature
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 a reader should not have to look up anchors
        return True


_Dumper.add_representer(str, _Dumper.represent_str)


def _header(bundle: Bundle, command: str | None) -> str:
    """Comment lines: what was rendered, and how to do it again."""
    stages = "1 stage" if len(bundle.stages) == 1 else f"{len(bundle.stages)} stages"
    lines = [
        f"{bundle.model}, {bundle.weights} weights, {bundle.precision}, {stages}",
        f"bundle {bundle.digest}",
        *([f"written by: {command}"] if command else []),
    ]
    return "".join(f"# {' '.join(line.split())}\n" for line in lines)


KUSTOMIZATION = "kustomization.yaml"
PATCHES = "stages.yaml"


def kustomize_folders(bundle: Bundle, options: RenderOptions) -> dict[str, list[Document]]:
    """Path within the folder -> its documents. `options.placement.gpu_resource` is the GPU overlay's.

    Raises:
        ManifestError: as `documents`.
    """
    placement = options.placement
    on_gpu = replace(options, placement=replace(placement, gpu_resource=placement.gpu_resource or GPU))
    on_cpu = replace(options, placement=replace(placement, gpu_resource=None))
    base = render(bundle, on_cpu)
    pairs = zip(base, render(bundle, on_gpu), strict=True)
    patches = [_patch(before, after) for before, after in pairs if before != after]
    file = f"{options.name or bundle.name}.yaml"
    return {
        f"base/{KUSTOMIZATION}": [_kustomization(resources=[file])],
        f"base/{file}": base,
        f"overlays/cpu/{KUSTOMIZATION}": [_kustomization(resources=["../../base"])],
        f"overlays/gpu/{KUSTOMIZATION}": [_kustomization(resources=["../../base"], patches=[{"path": PATCHES}])],
        f"overlays/gpu/{PATCHES}": patches,
    }


def write_kustomize(bundle: Bundle, out: Path, options: RenderOptions, *, command: str | None = None) -> Path:
    """Write `base/` and `overlays/` into `out` and give it back.

    Raises:
        ManifestError: as `documents`, or a file cannot be written.
    """
    for path, written in kustomize_folders(bundle, options).items():
        _write(out / path, _header(bundle, command) + to_yaml(written))
    return out


def merge_patch(before: Mapping[str, object], after: Mapping[str, object]) -> Document:
    """What makes `after` of `before`: keys that are new or changed; those that are gone are None (RFC 7386)."""
    patch: Document = dict.fromkeys(key for key in before if key not in after)
    for key, value in after.items():
        old = before.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            if inner := merge_patch(old, value):
                patch[key] = inner
        elif key not in before or old != value:
            patch[key] = value
    return patch


def _patch(before: Document, after: Document) -> Document:
    metadata = {key: after["metadata"][key] for key in ("name", "namespace")}
    return {"apiVersion": after["apiVersion"], "kind": after["kind"], "metadata": metadata} | merge_patch(before, after)


def _kustomization(**fields: object) -> Document:
    return {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", **fields}
