"""The commands that serve a bundle: `render`, `lint`, `up` and `request`."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from shardline.client.request import main as request_main
from shardline.console import next_step, out
from shardline.manifests.lint import Severity, lint_files
from shardline.manifests.local import up as run_chain
from shardline.manifests.render import read_described, write_chain, write_kustomize
from shardline.options.chain import ChainOptions, takes_chain_options
from shardline.options.group import option
from shardline.options.up import UpArguments, takes_up_options
from shardline.process_output import RichConsole

_SEVERITY_COLOURS = {"error": "red", "warning": "yellow"}


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: shardline render bundles/resnet50 --storage gs://bucket/models --out manifests-out")(
        render
    )
    app.command(epilog="Example: shardline lint manifests-out --crds kserve/config/crd/full")(lint)
    app.command(epilog="Example: shardline up manifests-out --port 8080")(up)
    app.command(
        epilog="Example: shardline request photo.jpg --url http://127.0.0.1:8080",
        add_help_option=False,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(request)


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
    mode: Annotated[str, option(metavar="NAME", help="KServe's deployment mode: standard or knative")] = "standard",
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
    written = write(read_described(bundle), out_folder, options, command=shlex.join(["shardline", *sys.argv[1:]]))
    out.print(str(written))
    next_step("up", str(written))


def lint(
    paths: Annotated[
        list[Path], typer.Argument(metavar="MANIFESTS", help="YAML files or folders to check; - is standard input")
    ],
    crds: Annotated[
        Path | None,
        typer.Option(
            help="File or folder of CustomResourceDefinitions to validate the documents against (default: none)"
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 on warnings, too")] = False,
) -> None:
    """Report what a cluster would reject, or accept and then fail on; one problem per line."""
    report = lint_files(paths, crds)
    for problem in report.problems:
        colour = _SEVERITY_COLOURS[problem.severity]
        out.print(f"[{colour}]{problem.severity}[/{colour}] {escape(str(problem))} [dim]({problem.rule})[/dim]")
    errors, warnings = report.count(Severity.ERROR), report.count(Severity.WARNING)
    read = f"{_count(report.documents, 'document')} in {_count(report.files, 'file')}"
    out.print(f"{read}: {_count(errors, 'error')}, {_count(warnings, 'warning')}")
    if errors or (strict and warnings):
        raise typer.Exit(1)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


@takes_up_options
def up(
    manifests: Annotated[
        Path,
        typer.Argument(
            metavar="MANIFESTS|BUNDLE",
            help="YAML file or folder that `shardline render` wrote, or the folder of a bundle, which is rendered with "
            "the default options",
        ),
    ],
    quiet: Annotated[bool, typer.Option("--quiet", help="Do not print the processes' output")] = False,
    *,
    run: UpArguments,
) -> None:
    """Start all stages, the transformer and the router; print the URL when all are ready; Ctrl-C stops them."""
    run_chain(manifests, **run, console=RichConsole(quiet=quiet))


def request(context: typer.Context) -> None:
    """Send pictures to a served model and show the predictions."""
    raise typer.Exit(request_main(context.args))
