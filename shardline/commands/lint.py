"""The command `shardline lint`: check Kubernetes documents without a cluster."""

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
