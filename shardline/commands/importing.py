"""The command `shardline import`: make a bundle from another server's archive."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

import shardline
from shardline.console import out, say
from shardline.options.model import MeanOption, PicturesOption, StdOption, parse_channels
from shardline.options.plan import plan_arguments


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Make a bundle from another server's archive.", no_args_is_help=True)
    group.command("torchserve", epilog="Example: shardline import torchserve resnet-18.mar --out bundles/r18 --trust")(
        torchserve
    )
    app.add_typer(group, name="import")


def torchserve(
    archive: Annotated[
        Path, typer.Argument(metavar="ARCHIVE", help="Model archive (.mar), as torch-model-archiver writes it")
    ],
    out_folder: Annotated[Path, typer.Option("--out", help="Folder of the bundle")],
    model: Annotated[
        str | None,
        typer.Option(
            help="Eager model to load the archive's weights into, as `build` takes it; no code of the archive is run "
            "(default: the archive's own)"
        ),
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Run the archive's code: its model file, or its TorchScript")
    ] = False,
    handler: Annotated[
        str | None,
        typer.Option(help="Handler whose preprocessing applies, if the archive has one of its own: image_classifier"),
    ] = None,
    size: Annotated[int, typer.Option(min=1, help="Height and width that the handler crops to, in pixels")] = 224,
    resize: Annotated[
        int, typer.Option(min=1, help="Length to which the handler first resizes the shorter side, in pixels")
    ] = 256,
    mean: MeanOption = None,
    std: StdOption = None,
    stages: Annotated[
        int, typer.Option(min=1, help="Number of stages; a chain of one replaces TorchServe as it is")
    ] = 1,
    pictures: PicturesOption = None,
    name: Annotated[str | None, typer.Option(help="Name of the bundle (default: the folder's name)")] = None,
) -> None:
    """Make a bundle from a TorchServe archive of an image classifier, eager or TorchScript."""
    from shardline.api import Program
    from shardline.commands.build import bundle_name
    from shardline.formats.torchserve_archive import read_archive
    from shardline.formats.torchserve_import import CLASSIFIER_PICTURE, Taking, take_over
    from shardline.samples import calibration_pixels, picture_files, sample_pictures
    from shardline.tables import bundle_table

    chosen = bundle_name(name or out_folder.name)
    taking = Taking(
        model=model,
        trust=trust,
        handler=handler,
        picture=replace(CLASSIFIER_PICTURE, height=size, width=size, resize=resize),
    )
    if mean is not None:
        taking = replace(taking, mean=parse_channels("--mean", mean))
    if std is not None:
        taking = replace(taking, std=parse_channels("--std", std))
    say(f"reading {archive}")
    taken = take_over(read_archive(archive), taking)
    samples = sample_pictures() if pictures is None else [path.read_bytes() for path in picture_files(pictures)]
    program = Program(model=taken, pictures=calibration_pixels(samples, taken.picture))
    bundle = shardline.build(program, out_folder, name=chosen, report=say, **plan_arguments(stages=stages))
    out.print(bundle_table(bundle))
    out.print(f"{out_folder}: {bundle.name} {bundle.digest}")
