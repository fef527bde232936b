"""`shardline evaluate classifier`: how good is a classifier, on a folder of labelled pictures?"""

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


def classifier(
    data: PicturesOption,
    model: Annotated[
        Path | None,
        typer.Argument(metavar="[MODEL]", help="a bundle, a whole (.pt2), or the JSON that `train classifier` wrote"),
    ] = None,
    url: Annotated[str | None, typer.Option(help="ask a served chain, for the scores of all classes")] = None,
    count: CountOption = None,
    against: AgainstOption = None,
    program: ProgramOption = "portable",
    report_folder: ReportOption = None,
    mistakes: MistakesOption = 48,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a classifier labelled pictures and compare what it says with what they show.

    Of a bundle, its chain and its whole run side by side. A folder is called as the model's label, or by its number.
    """
    check_libraries(LIBRARIES)
    if (model is None) == (url is None):
        raise ModelError("name one of the two: a MODEL, or --url of a served chain")
    make_folder(report_folder)
    with open_pictures(data, count) as pictures:
        from shardline.class_sources import ClassDoors
        from shardline.evaluation_doors import open_sources

        sources = open_sources(ClassDoors(program=program), model, url, against or [], threads)
        report, page = show_pictures(pictures, data, sources, mistakes)
    show_report(report.to_dict(), page, report_folder, as_json=as_json)
