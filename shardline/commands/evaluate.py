"""`shardline evaluate`: how good is a model, on pictures of which the answers are known?"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from shardline.console import err, out, say
from wire.errors import ModelError

if TYPE_CHECKING:
    from client.look import Look
    from training.evaluation.evaluate import Report
    from training.evaluation.misses import Miss
    from training.evaluation.sample import Samples
    from training.evaluation.sources import Source

_DRAWN = "drawn"
_REPORT = "report.json"
_LIBRARIES = ("matplotlib", "pycocotools", "scipy")


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Measure how good a model is.", no_args_is_help=True)
    group.command("plates", epilog="Example: shardline evaluate plates bundles/plates --count 1000 --out report")(
        plates
    )
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
    against: Annotated[list[Path] | None, typer.Option(help="bundle to run beside it; may be repeated")] = None,
    program: Annotated[
        Literal["portable", "compiled", "auto"], typer.Option(help="which of a bundle's shards: auto takes what fits")
    ] = "portable",
    report_folder: Annotated[
        Path | None, typer.Option("--out", help="folder for report.json, the plots and the worst misses")
    ] = None,
    misses: Annotated[int, typer.Option(min=0, help="how many of the worst misses to show there")] = 48,
    threads: Annotated[int | None, typer.Option(min=1, help="torch threads; default: this process's CPUs")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print report.json")] = False,
) -> None:
    """Show a detector of plates pictures and compare what it finds with what is drawn.

    Of a bundle, its chain and its whole run side by side.
    """
    _check_libraries()
    if model is not None and url is not None:
        raise ModelError("name one of the two: a MODEL, or --url of a served chain")
    samples = _drawn(count, seed, fonts, background, size) if data == _DRAWN else _stored(Path(data))
    photographs = None if plain is None else _plain(plain)
    if report_folder is not None:
        _make(report_folder)
    if url is None or against:
        from partition.threads import use_threads

        use_threads(threads)
    sources = _closer(_sources(model, url, against or [], size, program), look)

    from shardline.evaluation_tables import report_tables
    from training.evaluation.evaluate import evaluate

    with _bar(len(samples) + len(photographs or ())) as on_picture:
        report, worst = evaluate(samples, sources, threshold, photographs, misses, on_picture)
    if report_folder is not None:
        _write(report, worst, report_folder)
    if as_json:
        print(json.dumps(report.to_dict()))
        return
    for each in report_tables(report):
        out.print(each)
    if report_folder is not None:
        out.print(str(report_folder))


def _check_libraries() -> None:
    missing = [name for name in _LIBRARIES if find_spec(name) is None]
    if missing:
        raise ModelError(f"evaluate needs {', '.join(missing)}: pip install 'shardline[evaluate]'")


def _sources(
    model: Path | None, url: str | None, against: Sequence[Path], size: int | None, program: str
) -> "list[Source]":
    from shardline.plate_sources import Served, open_chain, open_model

    sources: list[Source] = []
    if url is not None:
        sources.append(Served(url, size))
    else:
        say(f"loading {model or 'the detector that ships'}")
        sources += open_model(model, size, program)
    for folder in against:
        say(f"loading {folder}")
        sources.append(open_chain(folder, program))
    return sources


def _closer(sources: "list[Source]", look: "Look") -> "list[Source]":
    from shardline.plate_sources import Closer

    return sources if look == "once" else [Closer(source=source, how=look) for source in sources]


def _drawn(
    count: int, seed: int, fonts: Literal["train", "held-out", "all"], background: Path | None, size: int | None
) -> "Samples":
    from shardline.samples import picture_files, sample_files
    from training.evaluation.sample import Drawn
    from training.plates.backgrounds import Backgrounds
    from training.plates.fonts import families
    from training.plates.scene import Scene
    from training.plates.stream import Plates

    files = sample_files() if background is None else picture_files(background)
    scene = Scene() if size is None else Scene(size=(size, size))
    photographs = Backgrounds(files=tuple(files))
    return Drawn(plates=Plates(seed=seed, scene=scene, fonts=families(fonts), backgrounds=photographs), count=count)


def _stored(folder: Path) -> "Samples":
    from training.evaluation.sample import Stored

    return Stored(folder)


def _plain(folder: Path) -> "Samples":
    from shardline.samples import picture_files
    from training.evaluation.sample import Plain

    return Plain(files=tuple(picture_files(folder)))


@contextmanager
def _bar(count: int) -> Iterator[Callable[[], None]]:
    """Counts pictures on stderr where that is a terminal; what it gives is called after each."""
    columns = (TextColumn("evaluating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("evaluating", total=count)
        yield lambda: bar.advance(task)


def _make(folder: Path) -> None:
    """Before the work, so that it is not in vain."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _REPORT).touch()
    except OSError as exc:
        raise ModelError(f"--out {folder} cannot be written: {exc.strerror or exc}") from exc


def _write(report: "Report", misses: "Sequence[Miss]", folder: Path) -> None:
    from training.evaluation.plots import draw_report

    try:
        (folder / _REPORT).write_text(json.dumps(report.to_dict(), indent=1) + "\n", encoding="utf-8")
        draw_report(report, misses, folder)
    except OSError as exc:
        raise ModelError(f"--out {folder} cannot be written: {exc.strerror or exc}") from exc
