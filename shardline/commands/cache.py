"""The commands for what lies on this machine: `list` shows bundles, `clean` empties the cache and removes leftovers."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from shardline.console import err, out, say
from shardline.storage.local_bundles import LEVELS, LocalBundle, disposables, local_bundles
from shardline.storage.user_cache import bundles_folder
from shardline.wire.errors import UsageError
from shardline.wire.limits import format_bytes

_COLUMNS = ("changed (UTC)", "name", "model", "task", "stages", "precision", "size", "digest", "folder")
_SHORT = 12  # hex digits of a digest


def register(app: typer.Typer) -> None:
    app.command("list", epilog="Example: shardline list bundles --json")(list_bundles)
    app.command(epilog="Example: shardline clean --dry-run")(clean)


def list_bundles(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help=f"Folder to search, at most {LEVELS} folders deep")
    ] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the bundles as JSON, with whole digests")] = False,
) -> None:
    """List the bundles below FOLDER and in the cache of `shardline serve`. Their files are not checked."""
    found = local_bundles(folder)
    cache = bundles_folder()
    if cache.is_dir():
        known = {local.folder.resolve() for local in found}
        found += [local for local in local_bundles(cache) if local.folder.resolve() not in known]
    if as_json:
        print(json.dumps([_to_dict(local) for local in found]))
    elif found:
        _print_columns([_COLUMNS, *(_row(local) for local in found)])
    else:
        say(f"no bundles below {folder.resolve()} and in {cache}: shardline build or shardline serve makes one")


def _row(local: LocalBundle) -> tuple[str, ...]:
    bundle = local.bundle
    return (
        local.modified.strftime("%Y-%m-%d %H:%M"),
        bundle.name,
        bundle.model,
        bundle.task.name,
        str(len(bundle.stages)),
        bundle.precision,
        format_bytes(local.size_bytes),
        bundle.digest.removeprefix("sha256:")[:_SHORT],
        str(local.folder),
    )


def _print_columns(rows: list[tuple[str, ...]]) -> None:
    """Print aligned columns; a table would cut the folders, which are there to be copied, to the terminal's width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        out.print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip(), markup=False)


def _to_dict(local: LocalBundle) -> dict[str, Any]:
    bundle = local.bundle
    return {
        "name": bundle.name,
        "model": bundle.model,
        "weights": bundle.weights,
        "task": bundle.task.name,
        "stages": len(bundle.stages),
        "precision": bundle.precision,
        "size_bytes": local.size_bytes,
        "digest": bundle.digest,
        "modified": local.modified.isoformat(timespec="seconds"),
        "folder": str(local.folder),
    }


def clean(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help=f"Folder to search for drafts of interrupted builds, at most {LEVELS} folders deep"
        ),
    ] = Path(),
    only: Annotated[
        Literal["measurements", "bundles", "leftovers"] | None,
        typer.Option(help="Delete only this kind of files (default: all three)"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the files and delete nothing")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking")] = False,
) -> None:
    """Delete the cache of measurements, the bundles of `shardline serve`, and what killed runs left behind.

    Bundles elsewhere stay, and so does what a running process uses. It lists every path with its size and asks first.
    """
    found = [item for item in disposables(folder) if only in (None, item.kind)]
    for item in found:
        out.print(f"{item.kind:12}  {format_bytes(item.size_bytes):>10}  {item.path}", markup=False)
    total = f"{len(found)} paths, {format_bytes(sum(item.size_bytes for item in found))}"
    if dry_run or not found:
        say(f"{total}: nothing was deleted" if found else "nothing to delete")
        return
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(f"{total}: give --yes to delete them, or --dry-run to list them")
        typer.confirm(f"Delete {total}?", abort=True, err=True)
    for item in found:
        item.delete()
    err.print(f"deleted {total}", markup=False)
