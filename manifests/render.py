"""A bundle -> one YAML file that `kubectl apply -f` and `shardline up` take alike."""

import re
from pathlib import Path
from typing import Any

import yaml

from shardline.manifests import resources, sizing
from shardline.manifests.names import Document, names_of
from shardline.manifests.options import RenderOptions
from shardline.manifests.scaling import disruption_budgets
from shardline.storage.bundle import Bundle, parse_bundle
from shardline.storage.bundle_folder import read_bundle
from shardline.wire.errors import ManifestError


def described(path: Path) -> Bundle:
    """What is at `path`: a bundle's folder, all of whose files are checked, or a bundle.json alone, which says enough.

    Raises:
        BundleError: not a whole bundle.
        ManifestError: the file cannot be read.
    """
    if not path.is_file():
        return read_bundle(path)
    try:
        return parse_bundle(path.read_bytes())
    except OSError as exc:
        raise ManifestError(f"{path} cannot be read ({exc.strerror}): give a bundle's folder or bundle.json") from exc


def documents(bundle: Bundle, options: RenderOptions) -> list[Document]:
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
    return written + options.way.documents(names, times, bundle.limits.body_bytes)


def render(bundle: Bundle, out: Path, options: RenderOptions, *, command: str | None = None) -> Path:
    """Write `<out>/<name>.yaml` and give its path back.

    `command` is the command line that the header tells to write the file again.

    Raises:
        ManifestError: as `documents`, or the file cannot be written.
    """
    path = out / f"{options.name or bundle.name}.yaml"
    write(path, header(bundle, command) + to_yaml(documents(bundle, options)))
    return path


def write(path: Path, text: str) -> None:
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


def header(bundle: Bundle, command: str | None) -> str:
    """Comment lines: what was rendered, and how to do it again."""
    stages = "1 stage" if len(bundle.stages) == 1 else f"{len(bundle.stages)} stages"
    lines = [
        f"{bundle.model}, {bundle.weights} weights, {bundle.precision}, {stages}",
        f"bundle {bundle.digest}",
        *([f"written by: {command}"] if command else []),
    ]
    return "".join(f"# {' '.join(line.split())}\n" for line in lines)
