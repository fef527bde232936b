"""The command `shardline render`: write a bundle's Kubernetes objects as YAML."""

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
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of the bundle, or its bundle.json alone")],
    out_folder: Annotated[Path, option("--out", help="Folder to write the YAML into")],
    storage: Annotated[
        str | None,
        option(help="URI from which the pods fetch the bundle, as `push` prints it (default: the folder as file://)"),
    ] = None,
    name: Annotated[str | None, option(help="Name of the chain and its services (default: the bundle's name)")] = None,
    namespace: Annotated[str, option(help="Namespace of the objects")] = "default",
    versioned: Annotated[
        bool,
        option(
            "--versioned",
            help="Put the bundle's short digest into the stages' names, so that versions can run side by side",
        ),
    ] = False,
    kustomize: Annotated[
        bool, option("--kustomize", help="Write base/, overlays/cpu and overlays/gpu for Kustomize instead of one file")
    ] = False,
    mode: Annotated[str, option(metavar="standard|knative", help="KServe's deployment mode")] = "standard",
    *,
    chain: ChainOptions,
) -> None:
    """Write the KServe objects of the bundle, and all other objects that they need, as one YAML file."""
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
