"""`shardline verify`: does the chain say what the whole says?"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.progress import track

from partition.runtime import use_threads
from partition.verify import Report, random_batches
from partition.verify import verify as verify_bundle
from predictors.picture import pixel_batch
from shardline.console import err, out
from shardline.samples import picture_files, sample_pictures
from storage.bundle import Bundle, read_bundle


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
    use_threads(threads)
    pictures = sample_pictures() if images is None else [path.read_bytes() for path in picture_files(images)]
    described = read_bundle(bundle)
    noise = random_batches(described.stages[0].inputs[0], random)
    report = verify_bundle(bundle, _batches(pictures, described), noise)
    if as_json:
        print(json.dumps(report.to_dict()))
    else:
        out.print(summary(report))
    raise typer.Exit(0 if report.all_equal else 1)


def _batches(pictures: Sequence[bytes], bundle: Bundle) -> Iterator[np.ndarray]:
    for picture in track(pictures, description="comparing", console=err, transient=True):
        yield pixel_batch([picture], bundle.picture, bundle.limits)


def summary(report: Report) -> str:
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
