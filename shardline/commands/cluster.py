"""The commands that work on a cluster: `deploy`, `status`, `rollback` and `undeploy`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from shardline.console import err, out, say
from shardline.manifests.lint import check
from shardline.manifests.render import render
from shardline.manifests.runs import local_runs, readiness
from shardline.options.bucket import takes_bucket_options
from shardline.options.chain import ChainOptions, takes_chain_options
from shardline.options.cluster import WAIT_S, ClusterOptions, WaitOption, takes_cluster_options
from shardline.progress import byte_bar
from shardline.releases import deploy as releases
from shardline.releases.preview import preview_deploy
from shardline.releases.status import ChainStatus, chain_names, chain_status
from shardline.storage.bundle_folder import open_bundle
from shardline.storage.push import destination, push
from shardline.storage.reachable import check_reachable
from shardline.storage.store import Access
from shardline.wire.errors import ClusterDownError, ClusterError, UsageError

if TYPE_CHECKING:
    from shardline.client.readiness import ChainState
    from shardline.releases.history import Release
    from shardline.storage.bundle import Bundle


_NO_CLUSTER = ClusterOptions(namespace=None, kubeconfig=None, context=None)


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: shardline deploy bundles/resnet50 --to gs://my-bucket/models --namespace vision")(
        deploy
    )
    app.command(epilog="Example: shardline status resnet50 --namespace vision")(status)
    app.command(epilog="Example: shardline rollback resnet50 --namespace vision")(rollback)
    app.command(epilog="Example: shardline undeploy resnet50 --namespace vision")(undeploy)


@takes_chain_options
@takes_bucket_options
@takes_cluster_options
def deploy(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of the bundle")],
    to: Annotated[str, typer.Option(metavar="URI", help="URI below which bundles are stored: gs://bucket/prefix")],
    name: Annotated[str | None, typer.Option(help="Name of the chain (default: the bundle's name)")] = None,
    create_namespace: Annotated[
        bool, typer.Option("--create-namespace", help="Create the namespace if it does not exist")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Change nothing: render, lint, let the cluster check every object, and print what would change",
        ),
    ] = False,
    wait: WaitOption = WAIT_S,
    *,
    target: ClusterOptions,
    access: Access,
    chain: ChainOptions,
) -> None:
    """Push BUNDLE, render and check its manifests, apply them, wait until it is ready, and test it on a golden picture.

    A version in service keeps answering until the new one has passed; then one update switches the graph, and no
    request meets both versions.
    """
    described = open_bundle(bundle)
    if dry_run:
        _preview(described, target, chain, to=to, name=name, create_namespace=create_namespace)
        return
    cluster, namespace = target.connect()
    options = chain(storage=destination(described, to), name=name, namespace=namespace, versioned=True)
    check_reachable(to)
    if create_namespace:
        releases.make_namespace(cluster, namespace)
    with byte_bar("sending", "sent") as progress:
        push(bundle, to, access=access, progress=progress)
    _print_deployed(releases.deploy(cluster, described, bundle, options, timeout_s=wait, say=say))


def _preview(
    bundle: "Bundle", target: ClusterOptions, chain: ChainOptions, *, to: str, name: str | None, create_namespace: bool
) -> None:
    """Print the objects of a deploy and their changes; exit with 1 if the cluster refuses one."""
    try:
        cluster, namespace = target.connect()
    except ClusterError as exc:
        cluster, namespace, reason = None, target.namespace or "default", str(exc)
    options = chain(storage=destination(bundle, to), name=name, namespace=namespace, versioned=True)
    documents = render(bundle, options)
    check(documents)
    say(f"dry run: {bundle.name} {bundle.digest} would be pushed to {options.storage}; nothing is changed")
    chosen = options.name or bundle.name
    if cluster is not None:
        try:
            found = preview_deploy(cluster, chosen, namespace, documents, create_namespace=create_namespace)
        except ClusterDownError as exc:
            cluster, reason = None, str(exc)
    if cluster is None:
        say(f"no cluster was asked, the objects were rendered and linted only: {reason}")
        for document in documents:
            out.print(f"{'rendered':9} {document['kind']} {document['metadata']['name']}", markup=False)
        return
    out.print(f"{chosen} revision {found.revision} in namespace {namespace}, {cluster.server}", markup=False)
    for planned in found.objects:
        out.print(f"{planned.action:9} {planned.kind} {planned.name}", markup=False)
        for detail in planned.details:
            out.print(f"{'':12}{detail}", markup=False)
    if found.refused:
        raise typer.Exit(1)


def _print_deployed(deployed: releases.Deployed) -> None:
    """Print which bundle is in service, and how its reply to the golden picture compares."""
    release = deployed.release
    out.print(f"{release.name} revision {release.revision} answers in namespace {release.namespace}: {release.bundle}")
    if deployed.agreement is None:
        err.print("[dim]the bundle has no golden picture to request: build it again[/dim]")
    else:
        out.print(f"golden picture: {deployed.agreement}")


@takes_cluster_options
def status(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Name of the chain (default: all chains in the namespace)")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the status as JSON")] = False,
    local: Annotated[
        bool, typer.Option("--local", help="Show the chains that `up` and `serve` run on this machine instead")
    ] = False,
    *,
    target: ClusterOptions,
) -> None:
    """Show the stages, why one is not ready, and the deployed revisions; exit with 1 unless everything is ready."""
    if local and target != _NO_CLUSTER:
        raise UsageError("--local shows chains on this machine: leave out --namespace, --kubeconfig and --context")
    if local:
        _print_local(name, as_json=as_json)
        return
    cluster, namespace = target.connect()
    chosen = [name] if name else chain_names(cluster, namespace)
    if not chosen:
        raise ClusterError(
            f"nothing is deployed in namespace {namespace}: shardline deploy, or choose another --namespace"
        )
    chains = [chain_status(cluster, chain, namespace) for chain in chosen]
    if as_json:
        print(json.dumps([_to_dict(chain) for chain in chains]))
    else:
        for chain in chains:
            _print_status(chain)
    raise typer.Exit(0 if all(chain.ready for chain in chains) else 1)


def _print_local(name: str | None, *, as_json: bool) -> None:
    """Print the chains on this machine and whether their processes are ready; exit with 1 unless all are."""
    found = [(run, readiness(run)) for run in local_runs() if name in (None, run.chain)]
    if not found:
        raise ClusterError("no such chain runs on this machine: shardline serve or shardline up starts one")
    if as_json:
        print(json.dumps([asdict(run) | {"ready": ready} for run, ready in found]))
    for run, ready in [] if as_json else found:
        verdict = "[green]ready[/green]" if all(ready.values()) else "[red]not ready[/red]"
        out.print(f"{escape(run.chain)}: {verdict}, {run.url}, process {run.pid}")
        for process, is_up in ready.items():
            out.print(f"  {process}: {'ready' if is_up else 'not ready'}", markup=False)
    raise typer.Exit(0 if all(all(ready.values()) for _, ready in found) else 1)


def _print_status(chain: ChainStatus) -> None:
    if chain.live:
        _print_state(chain.live, f"{chain.name} in namespace {chain.namespace}")
    if chain.begun:
        _print_state(chain.begun, f"{chain.name} revision {chain.history[-1].revision}, rollout not finished")
    elif not chain.finished:
        number = chain.history[-1].revision
        hint = f"the rollout of revision {number} was not finished: run shardline deploy again, or shardline rollback"
        out.print(escape(hint), highlight=False, soft_wrap=True)
    for release in chain.history:
        out.print(escape(_line(release)), highlight=False, soft_wrap=True)


def _print_state(state: "ChainState", heading: str) -> None:
    verdict = "[green]ready[/green]" if state.ready else "[red]not ready[/red]"
    out.print(f"{escape(heading)}: {verdict}", highlight=False, soft_wrap=True)
    for line in state.lines():
        out.print(f"  {escape(line)}", highlight=False, soft_wrap=True)


def _line(release: "Release") -> str:
    return f"  revision {release.revision:<4}{release.phase:<10}{release.created}  {release.storage}"


def _to_dict(chain: ChainStatus) -> dict[str, Any]:
    return {
        "name": chain.name,
        "namespace": chain.namespace,
        "ready": chain.ready,
        "finished": chain.finished,
        "live": _state_dict(chain.live),
        "begun": _state_dict(chain.begun),
        "revisions": [
            {
                "revision": release.revision,
                "phase": release.phase,
                "bundle": release.bundle,
                "created": release.created,
                "storage": release.storage,
            }
            for release in chain.history
        ],
    }


def _state_dict(state: "ChainState | None") -> dict[str, Any] | None:
    return asdict(state) | {"ready": state.ready, "serves": state.serves} if state else None


@takes_cluster_options
def rollback(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the chain")],
    revision: Annotated[
        int | None,
        typer.Option(min=1, help="Number of the revision (default: the last one deployed before the current one)"),
    ] = None,
    wait: WaitOption = WAIT_S,
    *,
    target: ClusterOptions,
) -> None:
    """Deploy an earlier revision again; the cluster keeps its objects, so neither bundle nor options are needed."""
    cluster, namespace = target.connect()
    _print_deployed(releases.rollback(cluster, name, namespace, revision, timeout_s=wait, say=say))


@takes_cluster_options
def undeploy(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the chain")], *, target: ClusterOptions
) -> None:
    """Delete all objects of the chain, its history included. The bundles in the bucket stay (`shardline gs gc`)."""
    cluster, namespace = target.connect()
    deleted = releases.undeploy(cluster, name, namespace)
    out.print(f"{name}: {deleted} objects deleted from namespace {namespace}")
