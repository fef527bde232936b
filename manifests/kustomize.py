"""A bundle -> folders for `kubectl apply -k`: a base, and overlays that turn it to CPUs or GPUs.

    base/kustomization.yaml  base/<name>.yaml      what `render` writes without --gpu
    overlays/cpu/kustomization.yaml                the base as it is
    overlays/gpu/kustomization.yaml  stages.yaml   what `render --gpu` writes otherwise, as patches

A patch is the difference of the two renders (RFC 7386), so an overlay cannot drift from `render --gpu`.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from shardline.manifests.names import Document
from shardline.manifests.options import RenderOptions
from shardline.manifests.placement import GPU
from shardline.manifests.render import documents, header, to_yaml, write
from shardline.storage.bundle import Bundle

KUSTOMIZATION = "kustomization.yaml"
PATCHES = "stages.yaml"


def folders(bundle: Bundle, options: RenderOptions) -> dict[str, list[Document]]:
    """Path within the folder -> its documents. `options.placement.gpu_resource` is the GPU overlay's.

    Raises:
        ManifestError: as `documents`.
    """
    placement = options.placement
    on_gpu = replace(options, placement=replace(placement, gpu_resource=placement.gpu_resource or GPU))
    on_cpu = replace(options, placement=replace(placement, gpu_resource=None))
    base = documents(bundle, on_cpu)
    pairs = zip(base, documents(bundle, on_gpu), strict=True)
    patches = [_patch(before, after) for before, after in pairs if before != after]
    file = f"{options.name or bundle.name}.yaml"
    return {
        f"base/{KUSTOMIZATION}": [_kustomization(resources=[file])],
        f"base/{file}": base,
        f"overlays/cpu/{KUSTOMIZATION}": [_kustomization(resources=["../../base"])],
        f"overlays/gpu/{KUSTOMIZATION}": [_kustomization(resources=["../../base"], patches=[{"path": PATCHES}])],
        f"overlays/gpu/{PATCHES}": patches,
    }


def render_folders(bundle: Bundle, out: Path, options: RenderOptions, *, command: str | None = None) -> Path:
    """Write `base/` and `overlays/` into `out` and give it back.

    Raises:
        ManifestError: as `documents`, or a file cannot be written.
    """
    for path, written in folders(bundle, options).items():
        write(out / path, header(bundle, command) + to_yaml(written))
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
