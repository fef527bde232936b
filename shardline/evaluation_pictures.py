"""What `shardline evaluate` does with labelled pictures: opens them, shows them, and makes a page about it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from shardline.progress import count_bar

if TYPE_CHECKING:
    from shardline.training.evaluation.classifier.evaluate import Report
    from shardline.training.evaluation.classifier.sample import Samples
    from shardline.training.evaluation.classifier.sources import Source
    from shardline.training.evaluation.page import Page

LIBRARIES = ("jinja2", "matplotlib", "scipy", "sklearn")


@contextmanager
def open_pictures(data: str, count: int | None) -> "Iterator[Samples]":
    """The pictures of a folder, or scikit-learn's digits, in a folder of their own until the end of the block.

    Raises:
        ModelError: as shardline.training.evaluation.classifier.sample.read_pictures.
    """
    from shardline.training.evaluation.classifier.sample import read_pictures
    from shardline.training.folder import DIGITS, write_digits

    if data != DIGITS:
        yield read_pictures(Path(data), count)
        return
    with TemporaryDirectory() as folder:
        yield read_pictures(write_digits(Path(folder)), count)


def show_pictures(pictures: "Samples", data: str, sources: "Sequence[Source]", mistakes: int) -> "tuple[Report, Page]":
    """What the sources make of the pictures, under a bar, and the page about it.

    Raises:
        ShardlineError: as shardline.training.evaluation.classifier.evaluate.evaluate.
    """
    from shardline.training.evaluation.classifier.evaluate import evaluate
    from shardline.training.evaluation.classifier.plots import drawings
    from shardline.training.evaluation.classifier.tables import tables
    from shardline.training.evaluation.page import Page

    with count_bar("evaluating", len(pictures)) as on_picture:
        report, worst = evaluate(pictures, sources, mistakes, on_picture)
    return report, Page(
        title=f"Evaluation of {sources[0].name}",
        lead=f"{report.pictures} pictures of {len(report.labels)} classes, from {data}.",
        tables=list(tables(report)),
        drawings=drawings(report, worst),
    )
