"""`shardline render`: a bundle -> Kubernetes YAML."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from manifests.render import render as render_bundle
from shardline.console import out
from storage.bundle import read_bundle


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: shardline render bundles/resnet50 --storage gs://bucket/models --out manifests-out")(
        render
    )


def render(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="the bundle's folder")],
    out_folder: Annotated[Path, typer.Option("--out", help="folder for the YAML file")],
    storage: Annotated[
        str | None, typer.Option(help="URI under which a pod finds the bundle; default: file:// and its folder")
    ] = None,
    name: Annotated[str | None, typer.Option(help="name of the services; default: the bundle's")] = None,
    namespace: Annotated[str, typer.Option(help="Kubernetes namespace")] = "default",
    replicas: Annotated[int, typer.Option(min=1, help="pods of each stage")] = 1,
) -> None:
    """Write the bundle's ServingRuntime, InferenceServices and InferenceGraph as one YAML file."""
    described = read_bundle(bundle)
    uri = storage or bundle.resolve().as_uri()
    uri = storage or bundle.resolve().as_uri()
    path = render_bundle(
        described,
        out_folder,
        storage=uri,
        name=name,
        namespace=namespace,
        replicas=replicas,
        command=shlex.join(["shardline", *sys.argv[1:]]),
    )
    out.print(str(path))
