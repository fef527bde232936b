"""`shardline evaluate`: evaluate a model on pictures with known answers."""

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape
from rich.table import Table

from shardline.console import out
from shardline.options.evaluate import (
    EvaluationOptions,
    PictureArguments,
    takes_evaluation_options,
    takes_picture_options,
)
from shardline.options.grammar import GrammarOption
from shardline.options.group import option
from shardline.tasks.plates.grammar import read_grammar
from shardline.training.folder import find_photographs, picture_files
from shardline.wire.errors import MissingPackageError, UsageError
from shardline.wire.text import printable

if TYPE_CHECKING:
    from shardline.training.evaluation.report import Evaluation

_DRAWN = "drawn"
_PICTURES = "Pictures"
_PACKAGES = ("jinja2", "matplotlib", "scipy")


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Evaluate a model on pictures with known answers.", no_args_is_help=True)
    group.command("plates", epilog="Example: shardline evaluate plates bundles/plates --count 1000 --out report")(
        plates
    )
    group.command(
        "classifier", epilog="Example: shardline evaluate classifier bundles/clothing --data photographs --out report"
    )(classifier)
    group.command(
        "detector",
        epilog="Example: shardline evaluate detector bundles/ssdlite --data val2017 --annotations instances.json",
    )(detector)
    group.command(
        "retrieval", epilog="Example: shardline evaluate retrieval bundles/digits --data mnist --k 10 --out report"
    )(retrieval)
    group.command(
        "segmenter", epilog="Example: shardline evaluate segmenter bundles/lraspp --data photographs --masks masks"
    )(segmenter)
    app.add_typer(group, name="evaluate")


@takes_evaluation_options
def plates(
    model: Annotated[
        Path | None,
        typer.Argument(
            metavar="MODEL",
            help="Bundle, exported program (.pt2), weights (.safetensors) or checkpoint of a training (.pt); "
            "default: the detector that ships",
        ),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(help="URL of a served chain to evaluate instead; it gives plates alone, no boxes of classes"),
    ] = None,
    data: Annotated[
        str, typer.Option(help="Folder of `shardline plates draw`, or: drawn (pictures are drawn on demand)")
    ] = _DRAWN,
    count: Annotated[int | None, typer.Option(min=1, help="Number of pictures to draw (default: 1000)")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the drawn pictures (default: 0)")] = None,
    fonts: Annotated[
        Literal["train", "held-out", "all"] | None, typer.Option(help="Fonts of the drawn plates (default: held-out)")
    ] = None,
    background: Annotated[
        Path | None, typer.Option(help="Folder of photographs to draw plates onto; default: those of scikit-image")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            min=32,
            help="Side length in pixels of drawn pictures, and of the network's input for weights alone; default: 512",
        ),
    ] = None,
    covered_characters: Annotated[
        int | None, typer.Option(min=0, max=7, help="Number of characters to cover on each drawn plate (default: 0)")
    ] = None,
    grammar: GrammarOption = None,
    plain: Annotated[
        Path | None, typer.Option(help="Folder of photographs without plates, in which false positives are counted")
    ] = None,
    threshold: Annotated[float, typer.Option(min=0.01, max=1, help="Least score of a plate")] = 0.7,
    tiling: Annotated[
        Literal["once", "twice", "tiles"],
        typer.Option(
            help="Inference on large pictures: the whole once, or again on crops or tiles, as the client does"
        ),
    ] = "once",
    misses: Annotated[
        int, typer.Option(min=0, help="Largest number of misses in the report, widest plates first")
    ] = 48,
    *,
    evaluation: EvaluationOptions,
) -> None:
    """Evaluate a plate detector on pictures with known plates.

    For a bundle, the chain and the whole model are evaluated side by side.
    """
    _check_packages("pycocotools")
    if model is not None and url is not None:
        raise UsageError("name one of the two: a MODEL, or --url of a served chain")
    from shardline.training.evaluation.plates.evaluate import evaluate_plates
    from shardline.training.samples import sample_files

    drawn = data == _DRAWN
    of_drawn = {
        "--count": count,
        "--seed": seed,
        "--fonts": fonts,
        "--background": background,
        "--covered-characters": covered_characters,
        "--grammar": grammar,
    }
    unused = [name for name, value in of_drawn.items() if value is not None]
    if not drawn and unused:
        raise UsageError(f"{data} holds pictures that are drawn already: leave out {', '.join(unused)}")
    found = evaluate_plates(
        evaluation.run(model=model, url=url),
        stored=None if drawn else Path(data),
        count=count or 1000,
        seed=seed or 0,
        fonts=fonts or "held-out",
        backgrounds=() if not drawn else sample_files() if background is None else find_photographs(background),
        size=size,
        covered_characters=covered_characters or 0,
        grammar=read_grammar(grammar),
        tiling=tiling,
        threshold=threshold,
        plain=None if plain is None else picture_files(plain),
        most_misses=misses,
    )
    _print(found, evaluation)


@takes_evaluation_options
@takes_picture_options
def classifier(
    model: Annotated[
        Path | None,
        typer.Argument(
            metavar="MODEL",
            help="Bundle, exported program (.pt2), or the JSON that `shardline train classifier` wrote",
        ),
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="URL of a served chain to evaluate instead; it replies with all classes' scores")
    ] = None,
    *,
    pictures: PictureArguments,
    evaluation: EvaluationOptions,
) -> None:
    """Evaluate a classifier on labelled pictures.

    For a bundle, the chain and the whole model are evaluated side by side. Each folder of pictures has the name or the
    number of one of the model's labels.
    """
    _check_packages("sklearn")
    _check_one_named(model, url, "MODEL")
    from shardline.training.evaluation.classifier.evaluate import evaluate_classifier

    _print(evaluate_classifier(evaluation.run(model=model, url=url), **pictures), evaluation)


@takes_evaluation_options
def detector(
    model: Annotated[
        Path | None, typer.Argument(metavar="MODEL", help="Bundle for the task detect, or exported program (.pt2)")
    ] = None,
    url: Annotated[str | None, typer.Option(help="URL of a served chain to evaluate instead")] = None,
    data: Annotated[
        Path,
        typer.Option(help="Folder of pictures; without --annotations, with a text file of YOLO's labels for each"),
    ] = Path(),
    annotations: Annotated[
        Path | None, typer.Option(help="COCO's JSON of annotations (default: YOLO's text files)")
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=1, help="Largest number of pictures, evenly spread over the list; default: all")
    ] = None,
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Least score of objects for precision, recall and mistakes")
    ] = 0.5,
    mistakes: Annotated[int, typer.Option(min=0, help="Largest number of mistakes in the report, worst first")] = 48,
    *,
    evaluation: EvaluationOptions,
) -> None:
    """Evaluate a detector on annotated pictures, by COCO's metrics.

    For a bundle, the chain and the whole model are evaluated side by side.
    """
    _check_packages("pycocotools")
    _check_one_named(model, url, "MODEL")
    from shardline.training.evaluation.detector.evaluate import evaluate_detector

    found = evaluate_detector(
        evaluation.run(model=model, url=url),
        data=data,
        annotations=annotations,
        count=count,
        threshold=threshold,
        most_mistakes=mistakes,
    )
    _print(found, evaluation)


@takes_evaluation_options
@takes_picture_options
def retrieval(
    bundle: Annotated[
        Path | None, typer.Argument(metavar="BUNDLE", help="Bundle that was built for retrieval, with its index")
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            help="URL of a served chain to evaluate instead; recall is reported for its bundle, given by --against"
        ),
    ] = None,
    k: Annotated[int, typer.Option(min=1, max=1000, help="Number of nearest neighbours that vote")] = 10,
    nprobe: Annotated[
        int | None, typer.Option(min=1, help="Lists of an ivf index to search; default: the index's own number")
    ] = None,
    ef_search: Annotated[
        int | None,
        typer.Option(min=1, help="Candidates that a search of an hnsw index keeps; default: the index's own"),
    ] = None,
    *,
    pictures: PictureArguments,
    evaluation: EvaluationOptions,
) -> None:
    """Evaluate a retrieval on labelled pictures: the vote of the nearest neighbours, and the recall of the index.

    For a bundle, the chain and the whole model are evaluated side by side, with the same index. Each folder of pictures
    has the name of one of the index's labels.
    """
    _check_packages("sklearn")
    _check_one_named(bundle, url, "BUNDLE")
    from shardline.training.evaluation.retrieval.evaluate import evaluate_retrieval

    run = evaluation.run(model=bundle, url=url)
    _print(evaluate_retrieval(run, k=k, nprobe=nprobe, ef_search=ef_search, **pictures), evaluation)


@takes_evaluation_options
def segmenter(
    data: Annotated[Path, option(help="Folder of pictures", panel=_PICTURES)],
    masks: Annotated[
        Path,
        option(
            help="Folder of true masks, a palette or grey PNG of each picture's name: class indexes, and 255 for "
            "ignored pixels",
            panel=_PICTURES,
        ),
    ],
    model: Annotated[
        Path | None, typer.Argument(metavar="MODEL", help="Bundle or exported program (.pt2) of a segmentation")
    ] = None,
    url: Annotated[str | None, typer.Option(help="URL of a served chain to evaluate instead")] = None,
    count: Annotated[
        int | None,
        option(
            min=1, help="Largest number of pictures, evenly spread over the whole list; default: all", panel=_PICTURES
        ),
    ] = None,
    worst: Annotated[
        int, typer.Option(min=0, help="Number of pictures in the report, those with the fewest pixels right first")
    ] = 24,
    *,
    evaluation: EvaluationOptions,
) -> None:
    """Evaluate a segmentation on pictures with true masks: IoU of each class, and the share of pixels that are right.

    For a bundle, the chain and the whole model are evaluated side by side.
    """
    _check_packages("sklearn")
    _check_one_named(model, url, "MODEL")
    from shardline.training.evaluation.segmenter.evaluate import evaluate_segmenter

    run = evaluation.run(model=model, url=url)
    _print(evaluate_segmenter(run, data=data, masks=masks, count=count, most=worst), evaluation)


def _check_packages(own: str) -> None:
    """
    Args:
        own: the package that only this evaluation needs.

    Raises:
        MissingPackageError: a package is not installed.
    """
    missing = [name for name in sorted((*_PACKAGES, own)) if find_spec(name) is None]
    if missing:
        raise MissingPackageError(f"evaluate needs {', '.join(missing)}: pip install 'shardline[evaluate]'")


def _check_one_named(path: Path | None, url: str | None, argument: str) -> None:
    """
    Raises:
        UsageError: both the argument and --url are given, or neither.
    """
    if (path is None) == (url is None):
        raise UsageError(f"name one of the two: a {argument}, or --url of a served chain")


def _print(found: "Evaluation", options: EvaluationOptions) -> None:
    """Print the tables, or report.json, and the path of the report."""
    if options.as_json:
        print(json.dumps(found.document))
        return
    for table in found.page.tables:
        if isinstance(table, str):
            out.print(printable(table), markup=False)
        else:
            out.print(_terminal_table(table.title, table.columns, table.groups))
    if options.out is not None:
        out.print(str(options.out / "report.html"), markup=False)


def _terminal_table(title: str, columns: Sequence[str], groups: Sequence[Sequence[Sequence[str]]]) -> Table:
    def safe(text: str) -> str:
        return escape(printable(text))

    table = Table(title=safe(title), title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(safe(column), justify="left" if number == 0 else "right", overflow="fold")
    for rows in groups:
        table.add_section()
        for row in rows:
            table.add_row(*map(safe, row))
    return table
