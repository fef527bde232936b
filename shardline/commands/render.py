"""`shardline render`: a bundle -> Kubernetes YAML."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from shardline.console import out
from shardline.manifests.render import read_described, write_chain, write_kustomize
from shardline.options.chain import ChainOptions, takes_chain_options
from shardline.options.group import option


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: shardline render bundles/resnet50 --storage gs://bucket/models --out manifests-out")(
        render
    )


@takes_chain_options
def render(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="the bundle's folder, or its bundle.json alone")],
    out_folder: Annotated[Path, option("--out", help="folder for the YAML")],
    storage: Annotated[
        str | None, option(help="URI under which a pod finds the bundle; default: file:// and its folder")
    ] = None,
    name: Annotated[str | None, option(help="name of the services; default: the bundle's")] = None,
    namespace: Annotated[str, option(help="Kubernetes namespace")] = "default",
    versioned: Annotated[
        bool, option("--versioned", help="the bundle's short digest in the stages' names: versions side by side")
    ] = False,
    kustomize: Annotated[
        bool, option("--kustomize", help="base/ and overlays/cpu and overlays/gpu in place of one file")
    ] = False,
    mode: Annotated[str, option(help="KServe's deployment mode: standard or knative")] = "standard",
    *,
    chain: ChainOptions,
) -> None:
    """Write the bundle's KServe objects, and what belongs to them, as one YAML file."""
    folder = bundle.parent if bundle.is_file() else bundle
    options = chain(
        storage=storage or folder.resolve().as_uri(),
        name=name,
        namespace=namespace,
        versioned=versioned,
        mode=mode,
    )
    write = write_kustomize if kustomize else write_chain
    out.print(str(write(read_described(bundle), out_folder, options, command=shlex.join(["shardline", *sys.argv[1:]]))))
