"""Render a bundle as Kubernetes YAML: one file for `kubectl apply -f` and `shardline up`, or a kustomize tree.

    base/kustomization.yaml  base/<name>.yaml      the documents without --gpu
    overlays/cpu/kustomization.yaml                the base, unchanged
    overlays/gpu/kustomization.yaml  stages.yaml   the documents with --gpu, as patches of the base

A patch is the difference of the two renders (RFC 7386), so an overlay cannot drift from `render --gpu`.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from shardline.client.labels import Document
from shardline.manifests import resources, sizing
from shardline.manifests.names import names_of
from shardline.manifests.options import RenderOptions
from shardline.manifests.placement import GPU
from shardline.manifests.scaling import disruption_budgets
from shardline.storage.bundle import Bundle, parse_bundle
from shardline.storage.bundle_folder import open_bundle
from shardline.wire.errors import FileError


def read_described(path: Path) -> Bundle:
    """Read a bundle to render: a folder, all of whose files are checked, or a bundle.json alone.

    Raises:
        BundleError: not a complete bundle.
        FileError: the file cannot be read.
    """
    if not path.is_file():
        return open_bundle(path)
    try:
        return parse_bundle(path.read_bytes())
    except OSError as exc:
        raise FileError(f"{path} cannot be read ({exc.strerror}): give a bundle's folder or bundle.json") from exc


def render(bundle: Bundle, options: RenderOptions) -> list[Document]:
    """Render a bundle as Kubernetes documents, in the order to apply them: NetworkPolicies come before the pods.

    Several stages are called `<name>-<i>`, a single one `<name>`, versioned ones `<name>-<short digest>-<i>`. A
    transformer that is a step of the graph is called `<name>-pre`.

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
        resources.serving_runtime(bundle, names, options),
        *resources.transformer_step(bundle, names, options, times),
        *(resources.inference_service(bundle, stage, names, options, times) for stage in bundle.stages),
    ]
    if names.graph:
        written.append(resources.inference_graph(names, names.graph, bundle, options, times))
    if not options.knative:
        written += disruption_budgets(names, options.scaling)
    return written + options.exposure.documents(
        names, timeout_s=times.server_write_s, body_bytes=bundle.limits.body_bytes
    )


def write_chain(bundle: Bundle, out: Path, options: RenderOptions, *, command: str | None = None) -> Path:
    """Write the documents to `<out>/<name>.yaml`; returns its path.

    `command` is the command line that the file's header gives for writing it again.

    Raises:
        ManifestError: see `render`.
        FileError: the file cannot be written.
    """
    path = out / f"{options.name or bundle.name}.yaml"
    _write(path, _header(bundle, command) + to_yaml(render(bundle, options)))
    return path


def _write(path: Path, text: str) -> None:
    """Write a file and the folders above it.

    Raises:
        FileError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as exc:
        raise FileError(f"{path} cannot be written ({exc.strerror}): choose another --out") from exc


def to_yaml(rendered: list[Document]) -> str:
    """Write documents as YAML: block style, keys in their own order, lists indented as in Kubernetes' documentation."""
    return yaml.dump_all(rendered, Dumper=_Dumper, sort_keys=False, width=120, explicit_start=True)


# Text that kubectl's YAML parser reads as a number or a boolean and PyYAML does not: 12e34567, 0o7, y.
_AMBIGUOUS = re.compile(r"[-+]?(\.?[0-9][0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9]+)?|0[xob][0-9a-fA-F_]+)|[yYnN]")


class _Dumper(yaml.SafeDumper):
    def represent_str(self, data: str) -> yaml.ScalarNode:
        style = '"' if _AMBIGUOUS.fullmatch(data) else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 PyYAML's signature
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 readers should not have to look up anchors
        return True


_Dumper.add_representer(str, _Dumper.represent_str)


def _header(bundle: Bundle, command: str | None) -> str:
    """Write the comment at the top of a file: the bundle, and the command that renders it again."""
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
    """Render a kustomize tree: path of each file -> its documents.

    `options.placement.gpu_resource` is the resource of the GPU overlay.

    Raises:
        ManifestError: see `render`.
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
    """Write `base/` and `overlays/` into `out`; returns `out`.

    Raises:
        ManifestError: see `render`.
        FileError: a file cannot be written.
    """
    for path, written in kustomize_folders(bundle, options).items():
        _write(out / path, _header(bundle, command) + to_yaml(written))
    return out


def merge_patch(before: Mapping[str, object], after: Mapping[str, object]) -> Document:
    """Compute the merge patch (RFC 7386) from `before` to `after`: new and changed keys, and None for removed ones."""
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
