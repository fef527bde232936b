"""Options of `shardline evaluate`: those of every evaluation, and those of evaluations on labelled pictures."""

import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, TypedDict

from shardline.console import say
from shardline.options.group import option, takes_options
from shardline.progress import count_bar
from shardline.training.evaluation.run import EvaluationRun

_SOURCES, _REPORT, _PICTURES = "Sources", "Report", "Pictures"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationOptions:
    """`run` makes an EvaluationRun of a model and a URL; `as_json`: print report.json instead of tables."""

    run: Callable[..., EvaluationRun]
    out: Path | None
    as_json: bool


def evaluation_options(
    against: Annotated[
        list[Path] | None,
        option(help="Bundle whose chain is compared with the evaluated model; repeatable", panel=_SOURCES),
    ] = None,
    program: Annotated[
        Literal["portable", "compiled", "auto"],
        option(help="Shards of a bundle to run; auto: the compiled ones if they fit this machine", panel=_SOURCES),
    ] = "portable",
    threads: Annotated[
        int | None, option(min=1, help="Number of torch threads; default: the CPUs of this process", panel=_SOURCES)
    ] = None,
    out: Annotated[
        Path | None,
        option(help="Folder for report.html, report.json, the plots and the worst mistakes", panel=_REPORT),
    ] = None,
    as_json: Annotated[bool, option("--json", help="Print report.json instead of tables", panel=_REPORT)] = False,
) -> EvaluationOptions:
    """Collect the options of every evaluation."""
    run = partial(
        EvaluationRun,
        against=tuple(against or ()),
        program=program,
        threads=threads,
        out=out,
        command=shlex.join(["shardline", *sys.argv[1:]]),
        progress=say,
        bar=partial(count_bar, "evaluating"),
    )
    return EvaluationOptions(run=run, out=out, as_json=as_json)


takes_evaluation_options = takes_options("evaluation", evaluation_options)


class PictureArguments(TypedDict):
    """Arguments of an evaluation on labelled pictures."""

    data: str
    count: int | None
    most_mistakes: int


def picture_arguments(
    data: Annotated[
        str,
        option(
            help="Folder with test/CLASS/*.jpg, val/CLASS/*.jpg or CLASS/*.jpg, folder with MNIST's files, or digits "
            "(scikit-learn's)",
            panel=_PICTURES,
        ),
    ],
    count: Annotated[
        int | None,
        option(
            min=1, help="Largest number of pictures, evenly spread over the whole list; default: all", panel=_PICTURES
        ),
    ] = None,
    mistakes: Annotated[
        int, option(min=0, help="Largest number of mistakes in the report, highest scores first", panel=_REPORT)
    ] = 48,
) -> PictureArguments:
    """Collect the options about labelled pictures."""
    return PictureArguments(data=data, count=count, most_mistakes=mistakes)


takes_picture_options = takes_options("pictures", picture_arguments)
