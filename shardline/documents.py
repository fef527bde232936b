"""The Python API for Kubernetes documents: `render` and `lint`."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from shardline.manifests.lint import lint as lint_documents
from shardline.manifests.lint import lint_files
from shardline.manifests.options import RenderOptions
from shardline.manifests.render import read_described
from shardline.manifests.render import render as render_documents
from shardline.manifests.rules.crds import read_crds
from shardline.manifests.rules.rule import Problem


def render(bundle: str | Path, *, storage: str | None = None, **options: Any) -> list[dict[str, Any]]:
    """Return the Kubernetes documents that serve a bundle, as dicts that `yaml.safe_dump_all` writes.

    Args:
        bundle: the bundle's folder, or a bundle.json.
        storage: URI from which the pods fetch the bundle; default: its folder as file://.
        options: fields of `shardline.manifests.options.RenderOptions`, e.g. name="resnet50", namespace="vision".

    Raises:
        ManifestError, UsageError: an option that Kubernetes or KServe would refuse.
        BundleError: the bundle is incomplete or altered.
    """
    path = Path(bundle)
    folder = path.parent if path.is_file() else path
    settings = RenderOptions(storage=storage or folder.resolve().as_uri(), **options)
    return render_documents(read_described(path), settings)


def lint(documents: str | Path | Iterable[Mapping[str, Any]], *, crds: str | Path | None = None) -> list[Problem]:
    """Report what a cluster would reject, or accept and then fail on.

    Args:
        documents: a YAML file or folder, or documents such as those of `render`.
        crds: file or folder of CustomResourceDefinitions to validate the documents against.

    Raises:
        ManifestError: a file that cannot be read, or CRDs that are none.
    """
    definitions = None if crds is None else Path(crds)
    if isinstance(documents, str | Path):
        return list(lint_files([Path(documents)], definitions).problems)
    return lint_documents(list(documents), () if definitions is None else read_crds(definitions))
