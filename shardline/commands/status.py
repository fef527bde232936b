"""The command `shardline status`: show which chains are deployed, and why one is not ready."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from shardline.console import out
from shardline.options.cluster import ClusterOptions, takes_cluster_options
from shardline.wire.errors import ClusterError

if TYPE_CHECKING:
    from shardline.client.readiness import ChainState
    from shardline.releases.history import Release
    from shardline.releases.status import ChainStatus


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: shardline status resnet50 --namespace vision")(status)


@takes_cluster_options
def status(
    name: Annotated[str | None, typer.Argument(help="Name of the chain (default: all chains in the namespace)")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the status as JSON")] = False,
    *,
    target: ClusterOptions,
) -> None:
    """Show the stages, why one is not ready, and the deployed revisions; exit with 1 unless everything is ready."""
    from shardline.releases.status import chain_names, chain_status

    cluster, namespace = target.connect()
    chosen = [name] if name else chain_names(cluster, namespace)
    if not chosen:
        raise ClusterError(
            f"nothing is deployed in namespace {namespace}: shardline deploy, or choose another --namespace"
        )
    reports = [chain_status(cluster, each, namespace) for each in chosen]
    if as_json:
        print(json.dumps([_to_dict(each) for each in reports]))
    else:
        for each in reports:
            _show(each)
    raise typer.Exit(0 if all(each.ready for each in reports) else 1)


def _show(report: "ChainStatus") -> None:
    if report.live:
        _show_state(report.live, f"{report.name} in namespace {report.namespace}")
    if report.begun:
        _show_state(report.begun, f"{report.name} revision {report.history[-1].revision}, begun and not answering")
    elif not report.finished:
        hint = (
            f"revision {report.history[-1].revision} was not deployed to the end: shardline deploy again, or rollback"
        )
        out.print(escape(hint), highlight=False, soft_wrap=True)
    for release in report.history:
        out.print(escape(_line(release)), highlight=False, soft_wrap=True)


def _show_state(state: "ChainState", heading: str) -> None:
    verdict = "[green]ready[/green]" if state.ready else "[red]not ready[/red]"
    out.print(f"{escape(heading)}: {verdict}", highlight=False, soft_wrap=True)
    for line in state.lines():
        out.print(f"  {escape(line)}", highlight=False, soft_wrap=True)


def _line(release: "Release") -> str:
    return f"  revision {release.revision:<4}{release.phase:<10}{release.created}  {release.storage}"


def _to_dict(report: "ChainStatus") -> dict[str, Any]:
    return {
        "name": report.name,
        "namespace": report.namespace,
        "ready": report.ready,
        "finished": report.finished,
        "live": _state_dict(report.live),
        "begun": _state_dict(report.begun),
        "revisions": [
            {
                "revision": release.revision,
                "phase": release.phase,
                "bundle": release.bundle,
                "created": release.created,
                "storage": release.storage,
            }
            for release in report.history
        ],
    }


def _state_dict(state: "ChainState | None") -> dict[str, Any] | None:
    return asdict(state) | {"ready": state.ready, "serves": state.serves} if state else None
