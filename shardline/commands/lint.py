"""`shardline lint`: Kubernetes documents checked without a cluster."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from shardline.console import out

_COLOURS = {"error": "red", "warning": "yellow"}


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: shardline lint manifests-out --crds kserve/config/crd/full")(lint)


def lint(
    paths: Annotated[
        list[Path], typer.Argument(metavar="MANIFESTS", help="files or folders of YAML; - is standard input")
    ],
    crds: Annotated[
        Path | None, typer.Option(help="file or folder of CustomResourceDefinitions to hold the documents against")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="warnings fail, too")] = False,
) -> None:
    """Say what a cluster would refuse of the documents, or take and then trip over; one problem a line."""
    from shardline.manifests.lint import Severity, lint_files

    report = lint_files(paths, crds)
    for problem in report.problems:
        colour = _COLOURS[problem.severity]
        out.print(f"[{colour}]{problem.severity}[/{colour}] {escape(str(problem))} [dim]({problem.rule})[/dim]")
    errors, warnings = report.count(Severity.ERROR), report.count(Severity.WARNING)
    read = f"{_count(report.documents, 'document')} in {_count(report.files, 'file')}"
    out.print(f"{read}: {_count(errors, 'error')}, {_count(warnings, 'warning')}")
    if errors or (strict and warnings):
        raise typer.Exit(1)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
