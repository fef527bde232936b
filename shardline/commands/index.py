"""`shardline index`: build or extend the index of pictures in a bundle for retrieval."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from shardline.console import err, next_step, out, say
from shardline.progress import count_bar
from shardline.storage.bundle_folder import open_bundle
from shardline.tasks.index import ENTRIES_FILE, parse_entries
from shardline.wire.errors import UsageError

BundleOption = Annotated[Path, typer.Option("--bundle", help="Folder of the bundle, which becomes another bundle")]
DataOption = Annotated[
    Path,
    typer.Option("--data", help="Folder of pictures, with each inner folder's name as the label, or of MNIST's files"),
]
SplitOption = Annotated[
    Literal["train", "test"], typer.Option(help="Split of the data, where they have splits: DATA/train, or MNIST's")
]
DeviceOption = Annotated[str, typer.Option(help="Device to embed on: auto, cpu, cuda or cuda:N")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Build and extend the index of a bundle for retrieval.", no_args_is_help=True)
    group.command("build", epilog="Example: shardline index build --bundle bundles/digits --data mnist")(build)
    group.command("add", epilog="Example: shardline index add --bundle bundles/digits --data mnist --split test")(add)
    app.add_typer(group, name="index")


def build(
    bundle: BundleOption,
    data: DataOption,
    split: SplitOption = "train",
    kind: Annotated[
        Literal["auto", "flat", "ivf", "hnsw"],
        typer.Option(
            help="Kind of index: flat is exhaustive; auto takes flat up to 20,000 pictures, hnsw up to 500,000, then "
            "ivf"
        ),
    ] = "auto",
    metric: Annotated[
        Literal["cosine", "l2"], typer.Option(help="Distance: 1 - cosine, or the Euclidean distance (l2)")
    ] = "cosine",
    device: DeviceOption = "auto",
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace the index that the bundle has (default: refuse)")
    ] = False,
) -> None:
    """Embed pictures with the bundle's chain of shards, and write an index of the vectors into the bundle."""
    if not replace:
        _check_no_index(bundle)
    _index(bundle, data, split, device, kind=None if kind == "auto" else kind, metric=metric)


def add(bundle: BundleOption, data: DataOption, split: SplitOption = "train", device: DeviceOption = "auto") -> None:
    """Add pictures to the index of a bundle; its kind, its metric and the model stay."""
    _index(bundle, data, split, device, extend=True)


def _check_no_index(bundle: Path) -> None:
    """
    Raises:
        UsageError: the bundle has an index already.
    """
    found = next((path for path in open_bundle(bundle).files if path.endswith(f"/{ENTRIES_FILE}")), None)
    if found is not None:
        count = len(parse_entries((bundle / found).read_bytes()).ids)
        raise UsageError(
            f"{bundle} has an index of {count} pictures: add to it by `shardline index add`, or replace it by --replace"
        )


def _index(
    bundle: Path,
    data: Path,
    split: Literal["train", "test"],
    device: str,
    *,
    kind: Literal["flat", "ivf", "hnsw"] | None = None,
    metric: Literal["cosine", "l2"] = "cosine",
    extend: bool = False,
) -> None:
    say("loading torch")
    from shardline.training.embedding.index import index_pictures, index_summary

    track = partial(count_bar, "embedding")
    made = index_pictures(bundle, data, split, track, device=device, kind=kind, metric=metric, extend=extend)
    err.print(index_summary(made))
    out.print(f"{bundle}: {made.digest}")
    next_step("up", str(bundle))
