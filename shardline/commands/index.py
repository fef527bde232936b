"""`shardline index`: the pictures that a bundle for the task retrieve finds."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from shardline.console import err, out, say
from shardline.progress import count_bar

if TYPE_CHECKING:
    from shardline.index_sources import IndexSource
    from shardline.partition.indexing import Made, Pictures, Prove

BundleOption = Annotated[Path, typer.Option("--bundle", help="the bundle's folder; it becomes another bundle")]
DataOption = Annotated[
    Path, typer.Option("--data", help="folder of pictures, a folder's name being the label; or of MNIST's files")
]
SplitOption = Annotated[
    Literal["train", "test"], typer.Option(help="which part, where the data have parts: DATA/train, or MNIST's")
]
DeviceOption = Annotated[str, typer.Option(help="to embed on: auto, cpu, cuda or cuda:N")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Make and grow the index of a bundle for retrieval.", no_args_is_help=True)
    group.command("build", epilog="Example: shardline index build --bundle bundles/digits --data mnist")(build)
    group.command("add", epilog="Example: shardline index add --bundle bundles/digits --data mnist --split test")(add)
    app.add_typer(group, name="index")


def build(
    bundle: BundleOption,
    data: DataOption,
    split: SplitOption = "train",
    kind: Annotated[
        Literal["auto", "flat", "ivf", "hnsw"],
        typer.Option(help="flat looks at all; auto: flat up to 20,000 pictures, hnsw up to 500,000, then ivf"),
    ] = "auto",
    metric: Annotated[
        Literal["cosine", "l2"], typer.Option(help="what near means: 1 - cosine, or the Euclidean distance")
    ] = "cosine",
    device: DeviceOption = "auto",
) -> None:
    """Run the chain of shards over pictures, and keep an index of what comes out in the bundle. The model stays."""
    from shardline.partition.device import choose_device
    from shardline.partition.indexing import build_index

    pictures, prove = _pictures(bundle, data, split)
    chosen = None if kind == "auto" else kind
    _tell(bundle, build_index(bundle, pictures, prove, kind=chosen, metric=metric, device=choose_device(device)))


def add(bundle: BundleOption, data: DataOption, split: SplitOption = "train", device: DeviceOption = "auto") -> None:
    """Add pictures to the index of a bundle; its kind, its metric and the model stay."""
    from shardline.partition.device import choose_device
    from shardline.partition.indexing import add_to_index

    pictures, prove = _pictures(bundle, data, split)
    _tell(bundle, add_to_index(bundle, pictures, prove, device=choose_device(device)))


def _pictures(bundle: Path, data: Path, split: Literal["train", "test"]) -> "tuple[Iterator[Pictures], Prove]":
    """The pictures as this bundle takes them, under a bar, and what makes a golden picture of one."""
    say("loading torch")
    from shardline.index_sources import IndexSource
    from shardline.partition.threads import use_threads
    from shardline.samples import golden_picture
    from shardline.storage.bundle_folder import open_bundle

    use_threads()
    described = open_bundle(bundle)
    source = IndexSource(data, split, described.picture, described.limits)

    return _shown(source), lambda pixels: golden_picture(pixels, described.picture)


def _shown(source: "IndexSource") -> "Iterator[Pictures]":
    with count_bar("embedding", len(source)) as advance:
        for some in source.batches():
            yield some
            advance(len(some.ids))


def _tell(bundle: Path, made: "Made") -> None:
    from shardline.tasks.index import EFFORTS

    entries = made.entries
    searched = "" if entries.kind == "flat" else f", {EFFORTS[entries.kind]} {entries.effort}"
    found = "" if made.recall is None else f", which finds {made.recall:.1%} of the 10 nearest"
    named = len({each for each in entries.labels if each is not None})
    err.print(
        f"{len(entries.ids)} pictures of {named} labels as vectors of {entries.width} numbers: {entries.kind}, "
        f"{entries.metric}{searched}{found}"
    )
    out.print(f"{bundle}: {made.digest}")
