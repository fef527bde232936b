"""`shardline plates`: pictures of license plates to train and to test with."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shardline.console import out
from shardline.progress import count_bar
from shardline.wire.errors import ModelError

if TYPE_CHECKING:
    from shardline.training.plates.picture import Picture
    from shardline.training.plates.scene import Scene
    from shardline.training.plates.stream import Plates

_AHEAD = 8  # pictures that wait for each process, so that none idles and memory stays small


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Draw license plates onto photographs.", no_args_is_help=True)
    group.command("draw", epilog="Example: shardline plates draw --out plates --count 100 --seed 1")(draw)
    app.add_typer(group, name="plates")


def draw(
    out_folder: Annotated[Path, typer.Option("--out", help="a new folder for the pictures and annotations.json")],
    count: Annotated[int, typer.Option(min=1, help="how many pictures")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="the same seed draws the same pictures")] = 0,
    start: Annotated[int, typer.Option(min=0, help="number of the first picture of the seed")] = 0,
    background: Annotated[
        Path | None, typer.Option(help="folder of photographs to draw onto; default: scikit-image's own")
    ] = None,
    size: Annotated[str, typer.Option(help="of the pictures in pixels, 512 or 640x480")] = "512",
    fonts: Annotated[str, typer.Option(help="train, held-out or all")] = "train",
    kind: Annotated[str, typer.Option("--type", help="of the plates: regular, long or any")] = "any",
    text: Annotated[str | None, typer.Option(help="on every plate, e.g. '12A 3456'; default: each its own")] = None,
    plates: Annotated[str, typer.Option(help="fewest and most in one picture, e.g. 1-3")] = "1-3",
    empty: Annotated[float, typer.Option(help="share of pictures without plates")] = 0.1,
    least_width: Annotated[float, typer.Option(help="of a plate in pixels")] = 48,
    most_width: Annotated[float, typer.Option(help="of a plate, as a share of the picture's")] = 0.9,
    rotation: Annotated[float, typer.Option(help="degrees to either side, at most")] = 20,
    tilt: Annotated[float, typer.Option(help="degrees away from the camera, at most")] = 40,
    wear: Annotated[float, typer.Option(help="0 new plates in even light, 1 up to what can just be read")] = 1,
    camera: Annotated[float, typer.Option(help="0 no blur, noise and JPEG artefacts, 1 all of them")] = 1,
    covered: Annotated[float, typer.Option(help="share of plates that something hides in part")] = 0.12,
    file_format: Annotated[str, typer.Option("--format", help="png or jpg")] = "png",
    workers: Annotated[int, typer.Option(min=1, help="processes that draw; the pictures are the same")] = 1,
) -> None:
    """Draw plates onto photographs: pictures, and in annotations.json exact boxes of plates, groups and characters."""
    from shardline.tasks.plates.text import KINDS, parse_text
    from shardline.training.plates.coco import FORMATS, write_dataset
    from shardline.training.plates.scene import Scene

    scene = Scene(
        size=_size(size),
        plates=_range(plates),
        empty=empty,
        kinds=KINDS if _one_of("--type", kind, (*KINDS, "any")) == "any" else tuple(k for k in KINDS if k == kind),
        text=None if text is None else parse_text(text),
        least_width_px=least_width,
        most_width=most_width,
        rotation_deg=rotation,
        tilt_deg=tilt,
        wear=wear,
        camera=camera,
        covered=covered,
    )
    stream = _stream(seed, scene, fonts, background)
    saved_as = next(each for each in FORMATS if each == _one_of("--format", file_format, FORMATS))
    info = {"description": "license plates, drawn", "seed": seed, "start": start, "fonts": fonts}
    with count_bar("drawing", count) as bar, _pool(workers) as pool:
        numbers = range(start, start + count)
        drawn = _in_order(pool, stream, numbers, workers) if pool else map(stream.draw, numbers)
        path = write_dataset(out_folder, zip(numbers, drawn, strict=True), info, saved_as, bar)
    out.print(str(path))


def _stream(seed: int, scene: "Scene", fonts: str, background: Path | None) -> "Plates":
    from shardline.samples import picture_files, sample_files
    from shardline.training.plates.backgrounds import Backgrounds
    from shardline.training.plates.fonts import SIDES, families
    from shardline.training.plates.stream import Plates

    side = next(each for each in SIDES if each == _one_of("--fonts", fonts, SIDES))
    files = sample_files() if background is None else picture_files(background)
    return Plates(seed=seed, scene=scene, fonts=families(side), backgrounds=Backgrounds(files=tuple(files)))


def _in_order(pool: Executor, stream: "Plates", numbers: Iterable[int], workers: int) -> "Iterator[Picture]":
    waiting: deque[Future[Picture]] = deque()
    for number in numbers:
        waiting.append(pool.submit(stream.draw, number))
        if len(waiting) >= _AHEAD * workers:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


@contextmanager
def _pool(workers: int) -> Iterator[Executor | None]:
    """Processes to draw in; none for one worker. A mistake or Ctrl-C does not wait for what is still to be drawn."""
    if workers == 1:
        yield None
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _one_of(option: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ModelError(f"{option} {value!r}: allowed are {', '.join(allowed)}")
    return value


def _size(text: str) -> tuple[int, int]:
    """'512' or '640x480' -> width, height."""
    try:
        width, _, height = text.lower().partition("x")
        return int(width), int(height or width)
    except ValueError as exc:
        raise ModelError(f"--size {text!r}: write pixels, such as 512 or 640x480") from exc


def _range(text: str) -> tuple[int, int]:
    """'3' or '1-3' -> fewest, most."""
    try:
        fewest, _, most = text.partition("-")
        return int(fewest), int(most or fewest)
    except ValueError as exc:
        raise ModelError(f"--plates {text!r}: write how many, such as 2 or 1-3") from exc
