"""`shardline verify`: does the chain say what the whole says?"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import track

from shardline.console import err, out
from wire.errors import PictureError

if TYPE_CHECKING:
    import numpy as np

    from partition.verify import Report
    from storage.bundle import Bundle


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: shardline verify bundles/resnet50 --images photos --json")(verify)


def verify(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="the bundle's folder")],
    images: Annotated[Path | None, typer.Option(help="folder of pictures; default: scikit-image's own")] = None,
    random: Annotated[int, typer.Option(min=0, help="random tensors to compare too")] = 4,
    threads: Annotated[int | None, typer.Option(min=1, help="torch threads; default: this process's CPUs")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Run the whole and the chain of shards side by side; exit 1 unless they are equal to the bit."""
    from partition.runtime import use_threads
    from partition.verify import random_batches
    from partition.verify import verify as verify_bundle
    from shardline.samples import picture_files, sample_files
    from storage.bundle_folder import read_bundle

    described = read_bundle(bundle)
    pictures = sample_files() if images is None else picture_files(images)
    use_threads(threads)
    noise = random_batches(described.stages[0].inputs[0], random)
    report = verify_bundle(bundle, _batches(pictures, described), noise)
    if as_json:
        print(json.dumps(report.to_dict()))
    else:
        out.print(summary(report))
    raise typer.Exit(0 if report.all_equal else 1)


def _batches(pictures: Sequence[Path], bundle: "Bundle") -> "Iterator[np.ndarray]":
    from predictors.picture import to_pixels

    for path in track(pictures, description="comparing", console=err, transient=True):
        try:
            yield to_pixels(path.read_bytes(), bundle.picture, bundle.limits)[None]
        except PictureError as exc:
            raise PictureError(f"{path}: {exc}") from exc


def summary(report: "Report") -> str:
    """One line for the whole, one for each cut where something differs."""
    verdict = "split == whole" if report.all_equal else "split != whole"
    lines = [
        f"{verdict}: {report.equal} of {report.pictures} pictures and {report.random_equal} of {report.random_tensors} "
        f"random tensors equal to the bit, max abs difference {report.max_abs_difference:g}, "
        f"{report.stages} stages, {report.threads} threads"
    ]
    if report.top1_agreement is not None:
        lines.append(f"top-1 agreement {report.top1_agreement:g}, {report.top1_classes} different classes")
    lines += [
        f"  at {cut.name}: max abs difference {cut.max_abs_difference:g}"
        for cut in report.cuts
        if cut.max_abs_difference
    ]
    return "\n".join(lines)
