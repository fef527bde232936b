"""`shardline plates`: draw pictures of license plates to train and to evaluate with."""

from pathlib import Path
from typing import Annotated, TypeVar

import typer

from shardline.console import out
from shardline.options.grammar import GrammarOption
from shardline.progress import count_bar
from shardline.tasks.plates.grammar import read_grammar
from shardline.wire.errors import UsageError

_Name = TypeVar("_Name", bound=str)


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Draw license plates onto photographs.", no_args_is_help=True)
    group.command("draw", epilog="Example: shardline plates draw --out plates --count 100 --seed 1")(draw)
    app.add_typer(group, name="plates")


def draw(
    out_folder: Annotated[Path, typer.Option("--out", help="New folder for the pictures and annotations.json")],
    count: Annotated[int, typer.Option(min=1, help="Number of pictures")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Seed: the same seed draws the same pictures")] = 0,
    start: Annotated[int, typer.Option(min=0, help="Number of the first picture of the seed")] = 0,
    background: Annotated[
        Path | None, typer.Option(help="Folder of photographs to draw onto (default: the photographs in scikit-image)")
    ] = None,
    size: Annotated[str, typer.Option(help="Size of the pictures in pixels: 512 or 640x480")] = "512",
    fonts: Annotated[str, typer.Option(help="Fonts of the plates: train, held-out or all")] = "train",
    grammar: GrammarOption = None,
    kind: Annotated[str, typer.Option("--type", help="Type of the plates, such as regular or long, or: any")] = "any",
    text: Annotated[
        str | None, typer.Option(help="Text of every plate, e.g. '12A 3456' (default: a random one for each)")
    ] = None,
    plates: Annotated[str, typer.Option(help="Fewest and most plates in one picture, e.g. 1-3")] = "1-3",
    empty: Annotated[float, typer.Option(help="Share of pictures without plates")] = 0.1,
    least_width: Annotated[float, typer.Option(help="Smallest width of a plate in pixels")] = 48,
    most_width: Annotated[float, typer.Option(help="Largest width of a plate, as a share of the picture's")] = 0.9,
    rotation: Annotated[float, typer.Option(help="Largest rotation in the picture, in degrees to either side")] = 20,
    tilt: Annotated[float, typer.Option(help="Largest tilt away from the camera, in degrees")] = 40,
    wear: Annotated[
        float, typer.Option(help="Wear and light: 0 new plates in even light, 1 up to what can just be read")
    ] = 1,
    camera: Annotated[float, typer.Option(help="Camera: 0 no blur, noise and JPEG artefacts, 1 all of them")] = 1,
    covered: Annotated[float, typer.Option(help="Share of plates that something covers in part")] = 0.12,
    covered_characters: Annotated[
        int, typer.Option(min=0, max=7, help="Number of characters to cover on each plate")
    ] = 0,
    file_format: Annotated[str, typer.Option("--format", help="Format of the files: png or jpg")] = "png",
    workers: Annotated[
        int, typer.Option(min=1, help="Processes that draw; the pictures are the same for any number")
    ] = 1,
) -> None:
    """Draw plates onto photographs: pictures, and in annotations.json exact boxes of plates, groups and characters."""
    from shardline.training.plates.dataset import draw_dataset

    scene = {
        "size": _size(size),
        "plates": _range(plates),
        "empty": empty,
        "least_width_px": least_width,
        "most_width": most_width,
        "rotation_deg": rotation,
        "tilt_deg": tilt,
        "wear": wear,
        "camera": camera,
        "covered": covered,
        "covered_characters": covered_characters,
    }
    with count_bar("drawing", count) as advance:
        path = draw_dataset(
            out_folder,
            count=count,
            seed=seed,
            start=start,
            background=background,
            fonts=_one_of("--fonts", fonts, ("train", "held-out", "all")),
            kind=kind,
            grammar=read_grammar(grammar),
            text=text,
            file_format=_one_of("--format", file_format, ("png", "jpg")),
            workers=workers,
            scene=scene,
            on_picture=advance,
        )
    out.print(str(path))


def _one_of(option: str, value: str, allowed: tuple[_Name, ...]) -> _Name:
    found = next((name for name in allowed if name == value), None)
    if found is None:
        raise UsageError(f"{option} {value!r}: allowed are {', '.join(allowed)}")
    return found


def _size(text: str) -> tuple[int, int]:
    """'512' or '640x480' -> width, height."""
    try:
        width, _, height = text.lower().partition("x")
        return int(width), int(height or width)
    except ValueError as exc:
        raise UsageError(f"--size {text!r}: write pixels, such as 512 or 640x480") from exc


def _range(text: str) -> tuple[int, int]:
    """'3' or '1-3' -> fewest, most."""
    try:
        fewest, _, most = text.partition("-")
        return int(fewest), int(most or fewest)
    except ValueError as exc:
        raise UsageError(f"--plates {text!r}: write how many, such as 2 or 1-3") from exc
