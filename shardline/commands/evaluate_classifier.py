"""`shardline evaluate classifier`: how good is a classifier, on a folder of labelled pictures?"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from shardline.console import say
from shardline.evaluation_options import AgainstOption, JsonOption, ProgramOption, ReportOption, ThreadsOption
from shardline.evaluation_output import bar, check_libraries, make_folder, show_report
from wire.errors import ModelError

if TYPE_CHECKING:
    from training.evaluation.classifier.sample import Pictures
    from training.evaluation.classifier.sources import Source

_LIBRARIES = ("jinja2", "matplotlib", "scipy", "sklearn")


def classifier(
    data: Annotated[
        str, typer.Option(help="folder with test/CLASS/*.jpg, or CLASS/*.jpg; or: digits (scikit-learn's)")
    ],
    model: Annotated[
        Path | None,
        typer.Argument(metavar="[MODEL]", help="a bundle, a whole (.pt2), or the JSON that `train classifier` wrote"),
    ] = None,
    url: Annotated[str | None, typer.Option(help="ask a served chain, for the scores of all classes")] = None,
    against: AgainstOption = None,
    program: ProgramOption = "portable",
    report_folder: ReportOption = None,
    mistakes: Annotated[int, typer.Option(min=0, help="how many of the surest mistakes to show there")] = 48,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a classifier labelled pictures and compare what it says with what they show.

    Of a bundle, its chain and its whole run side by side. A folder is called as the model's label, or by its number.
    """
    check_libraries(_LIBRARIES)
    if (model is None) == (url is None):
        raise ModelError("name one of the two: a MODEL, or --url of a served chain")
    make_folder(report_folder)
    with _pictures(data) as pictures:
        if url is None or against:
            from partition.threads import use_threads

            use_threads(threads)
        sources = _sources(model, url, against or [], program)

        from training.evaluation.classifier.evaluate import evaluate
        from training.evaluation.classifier.plots import drawings
        from training.evaluation.classifier.tables import tables
        from training.evaluation.page import Page

        with bar(len(pictures)) as on_picture:
            report, worst = evaluate(pictures, sources, mistakes, on_picture)
    page = Page(
        title=f"Evaluation of {sources[0].name}",
        lead=f"{report.pictures} pictures of {len(report.labels)} classes, from {data}.",
        tables=list(tables(report)),
        drawings=drawings(report, worst),
    )
    show_report(report.to_dict(), page, report_folder, as_json=as_json)


@contextmanager
def _pictures(data: str) -> "Iterator[Pictures]":
    from training.classifier.digits import NAME, write_digits
    from training.evaluation.classifier.sample import read_pictures

    if data != NAME:
        yield read_pictures(Path(data))
        return
    with TemporaryDirectory() as folder:
        yield read_pictures(write_digits(Path(folder)))


def _sources(model: Path | None, url: str | None, against: Sequence[Path], program: str) -> "list[Source]":
    from shardline.class_sources import TASK, Served, open_model
    from shardline.evaluation_sources import open_chain
    from training.evaluation.classifier.sources import Scorer

    sources: list[Source] = []
    if url is not None:
        sources.append(Served(url))
    if model is not None:
        say(f"loading {model}")
        sources += [Scorer(program=each) for each in open_model(model, program)]
    for folder in against:
        say(f"loading {folder}")
        sources.append(Scorer(program=open_chain(folder, TASK, program)))
    return sources
