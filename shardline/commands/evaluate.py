"""`shardline evaluate`: how good is a model, on pictures of which the answers are known?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from shardline.commands.evaluate_classifier import classifier
from shardline.commands.evaluate_retrieval import retrieval
from shardline.evaluation_options import AgainstOption, JsonOption, ProgramOption, ReportOption, ThreadsOption
from shardline.evaluation_output import check_libraries, make_folder, show_report
from shardline.progress import count_bar
from shardline.wire.errors import ModelError

if TYPE_CHECKING:
    from shardline.training.evaluation.plates.sample import Samples

_DRAWN = "drawn"
_LIBRARIES = ("jinja2", "matplotlib", "pycocotools", "scipy")


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Measure how good a model is.", no_args_is_help=True)
    group.command("plates", epilog="Example: shardline evaluate plates bundles/plates --count 1000 --out report")(
        plates
    )
    group.command(
        "classifier", epilog="Example: shardline evaluate classifier bundles/clothing --data photographs --out report"
    )(classifier)
    group.command(
        "retrieval", epilog="Example: shardline evaluate retrieval bundles/digits --data mnist --k 10 --out report"
    )(retrieval)
    app.add_typer(group, name="evaluate")


def plates(
    model: Annotated[
        Path | None,
        typer.Argument(
            metavar="[MODEL]",
            help="a bundle, a whole (.pt2), weights, a checkpoint (.pt); default: what ships",
        ),
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="ask a served chain; it gives plates alone, no boxes of classes")
    ] = None,
    data: Annotated[str, typer.Option(help="folder of `shardline plates draw`, or: drawn")] = _DRAWN,
    count: Annotated[int, typer.Option(min=1, help="pictures to draw")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="the same seed draws the same pictures")] = 0,
    fonts: Annotated[Literal["train", "held-out", "all"], typer.Option(help="that plates are drawn in")] = "held-out",
    background: Annotated[
        Path | None, typer.Option(help="folder of photographs to draw onto; default: scikit-image's own")
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=32, help="of pictures drawn and of the input of weights alone; default: 512")
    ] = None,
    plain: Annotated[
        Path | None, typer.Option(help="folder of photographs without plates: what is found there is false")
    ] = None,
    threshold: Annotated[float, typer.Option(min=0.01, max=1, help="least score of a plate")] = 0.7,
    look: Annotated[
        Literal["once", "twice", "tiles"],
        typer.Option(help="at large pictures: once, or again at parts of them, as the client does"),
    ] = "once",
    against: AgainstOption = None,
    program: ProgramOption = "portable",
    report_folder: ReportOption = None,
    misses: Annotated[int, typer.Option(min=0, help="how many of the worst misses to show there")] = 48,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a detector of plates pictures and compare what it finds with what is drawn.

    Of a bundle, its chain and its whole run side by side.
    """
    check_libraries(_LIBRARIES)
    if model is not None and url is not None:
        raise ModelError("name one of the two: a MODEL, or --url of a served chain")
    samples = _drawn(count, seed, fonts, background, size) if data == _DRAWN else _stored(Path(data))
    photographs = None if plain is None else _plain(plain)
    make_folder(report_folder)

    from shardline.evaluation_doors import open_sources
    from shardline.plate_sources import PlateDoors

    sources = open_sources(PlateDoors(size=size, program=program, look=look), model, url, against or [], threads)

    from shardline.training.evaluation.page import Page
    from shardline.training.evaluation.plates.evaluate import evaluate
    from shardline.training.evaluation.plates.plots import drawings
    from shardline.training.evaluation.plates.tables import tables

    with count_bar("evaluating", len(samples) + len(photographs or ())) as on_picture:
        report, worst = evaluate(samples, sources, threshold, photographs, misses, on_picture)
    page = Page(
        title=f"Evaluation of {sources[0].name}",
        lead=f"{report.pictures} pictures of {'drawn plates' if data == _DRAWN else data}, threshold {threshold:g}.",
        tables=list(tables(report)),
        drawings=drawings(report, worst),
    )
    show_report(report.to_dict(), page, report_folder, as_json=as_json)


def _drawn(
    count: int, seed: int, fonts: Literal["train", "held-out", "all"], background: Path | None, size: int | None
) -> "Samples":
    from shardline.training.evaluation.plates.sample import Drawn
    from shardline.training.plates.backgrounds import Backgrounds
    from shardline.training.plates.fonts import families
    from shardline.training.plates.picture import PlateStream
    from shardline.training.plates.scene import Scene
    from shardline.training.samples import picture_files, sample_files

    files = sample_files() if background is None else picture_files(background)
    scene = Scene() if size is None else Scene(size=(size, size))
    photographs = Backgrounds(files=tuple(files))
    return Drawn(
        plates=PlateStream(seed=seed, scene=scene, fonts=families(fonts), backgrounds=photographs), count=count
    )


def _stored(folder: Path) -> "Samples":
    from shardline.training.evaluation.plates.sample import Stored

    return Stored(folder)


def _plain(folder: Path) -> "Samples":
    from shardline.training.evaluation.plates.sample import Plain
    from shardline.training.samples import picture_files

    return Plain(files=tuple(picture_files(folder)))
