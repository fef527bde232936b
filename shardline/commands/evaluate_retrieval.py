"""`shardline evaluate retrieval`: how good is the neighbours' vote, and how much of what is near does an index find?"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from shardline.evaluation_options import (
    AgainstOption,
    CountOption,
    JsonOption,
    MistakesOption,
    PicturesOption,
    ProgramOption,
    ReportOption,
    ThreadsOption,
)
from shardline.evaluation_output import check_libraries, make_folder, show_report
from shardline.evaluation_pictures import LIBRARIES, open_pictures, show_pictures
from shardline.wire.errors import ModelError


def retrieval(
    data: PicturesOption,
    bundle: Annotated[
        Path | None, typer.Argument(metavar="[BUNDLE]", help="one that was built for retrieval, with its index")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="ask a served chain; for recall name its bundle by --against, too")
    ] = None,
    k: Annotated[int, typer.Option(min=1, max=1000, help="how many neighbours vote")] = 10,
    nprobe: Annotated[
        int | None, typer.Option(min=1, help="of an ivf index: lists to look through; default: the index's own")
    ] = None,
    ef_search: Annotated[
        int | None, typer.Option(min=1, help="of an hnsw index: candidates to keep; default: the index's own")
    ] = None,
    count: CountOption = None,
    against: AgainstOption = None,
    program: ProgramOption = "portable",
    report_folder: ReportOption = None,
    mistakes: MistakesOption = 48,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look for labelled pictures in an index and compare what their neighbours vote for with what they show.

    Of a bundle, its chain and its whole run side by side, with the same index. A folder is called as the index's label.
    """
    check_libraries(LIBRARIES)
    if (bundle is None) == (url is None):
        raise ModelError("name one of the two: a BUNDLE, or --url of a served chain")
    make_folder(report_folder)
    with open_pictures(data, count) as pictures:
        from shardline.evaluation_doors import open_sources
        from shardline.neighbour_sources import Question, RetrievalDoors
        from shardline.training.evaluation.classifier.neighbours import RetrievalReport

        question = Question(classes=pictures.labels, k=k, nprobe=nprobe, ef_search=ef_search)
        doors = RetrievalDoors(question=question, program=program)
        sources = open_sources(doors, bundle, url, against or [], threads)
        votes, page = show_pictures(pictures, data, sources, mistakes)
    report = RetrievalReport(k=k, votes=votes, recalls=tuple(source.recall() for source in sources))
    page = replace(
        page,
        lead=f"{page.lead} The answer is what the {k} nearest vote for.",
        tables=[page.tables[0], *report.tables(), *page.tables[1:]],
    )
    show_report(report.to_dict(), page, report_folder, as_json=as_json)
