"""`shardline status`: what is deployed, does it answer, and if not, why."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from shardline.cluster_options import ContextOption, KubeconfigOption, NamespaceOption, join
from shardline.console import out
from wire.errors import ClusterError

if TYPE_CHECKING:
    from client.states import ChainState
    from releases.history import Release


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: shardline status resnet50 --namespace vision")(status)


def status(
    name: Annotated[str | None, typer.Argument(help="of the chain; default: every one in the namespace")] = None,
    namespace: NamespaceOption = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Show each stage, why it is not ready, and the revisions that were deployed; exit 1 unless all is ready."""
    from client.readiness import chain_state
    from releases.history import read_history, read_names

    cluster, where = join(kubeconfig, context, namespace)
    names = [name] if name else read_names(cluster, where)
    if not names:
        raise ClusterError(f"nothing is deployed in namespace {where}: shardline deploy, or choose another --namespace")
    chains = [(chain_state(cluster, each, where), read_history(cluster, each, where)) for each in names]
    if as_json:
        print(json.dumps([_to_dict(state, history) for state, history in chains]))
    else:
        for state, history in chains:
            _show(state, history)
    raise typer.Exit(0 if all(state.ready for state, _ in chains) else 1)


def _show(state: "ChainState", history: "list[Release]") -> None:
    verdict = "[green]ready[/green]" if state.ready else "[red]not ready[/red]"
    out.print(f"{state.name} in namespace {state.namespace}: {verdict}")
    for line in state.lines():
        out.print(f"  {escape(line)}", highlight=False)
    if history:
        out.print(_table(history))


def _table(history: "list[Release]") -> Table:
    table = Table("revision", "phase", "bundle", "created", "storage")
    for release in history:
        bundle = release.bundle.removeprefix("sha256:")[:8]
        table.add_row(str(release.revision), release.phase, bundle, release.created, release.storage)
    return table


def _to_dict(state: "ChainState", history: "list[Release]") -> dict[str, Any]:
    return {
        **asdict(state),
        "ready": state.ready,
        "serves": state.serves,
        "revisions": [
            {
                "revision": release.revision,
                "phase": release.phase,
                "bundle": release.bundle,
                "created": release.created,
                "storage": release.storage,
            }
            for release in history
        ],
    }
