"""The command. `python -m shardline` and `shardline` are the same."""

import sys

import typer
from rich.markup import escape

from shardline.commands import (
    build,
    deploy,
    emulator,
    evaluate,
    export,
    gs,
    importing,
    index,
    lint,
    plan,
    plates,
    pull,
    push,
    render,
    request,
    rollback,
    samples,
    status,
    train,
    undeploy,
    up,
    verify,
)
from shardline.console import err
from shardline.wire.errors import ShardlineError

app = typer.Typer(
    help="Cut a PyTorch vision model into shards and serve each as its own KServe InferenceService.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for module in (build, index, plan, verify, push, pull, gs, render, lint, up, deploy, status, rollback, undeploy):
    module.register(app)
for module in (emulator, request, samples, plates, evaluate, train, export, importing):
    module.register(app)


def main() -> None:
    """Run the command; a user's mistake is one line on stderr and exit code 1."""
    try:
        app()
    except ShardlineError as exc:
        err.print(f"[red]error:[/red] {escape(str(exc))}")
        sys.exit(1)


if __name__ == "__main__":
    main()
