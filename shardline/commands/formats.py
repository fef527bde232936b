"""The commands `import` and `export`: bundles from and for other servers."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

import shardline
from shardline.console import out, say
from shardline.options.model import MeanOption, PicturesOption, StdOption, parse_channels
from shardline.storage.bundle import bundle_name
from shardline.wire.errors import UsageError

_BundleArgument = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of the bundle")]
_OutOption = Annotated[Path, typer.Option("--out", help="Folder to write; it must not exist yet")]


def register(app: typer.Typer) -> None:
    imports = typer.Typer(help="Make a bundle from another server's archive.", no_args_is_help=True)
    imports.command(
        "torchserve", epilog="Example: shardline import torchserve resnet-18.mar --out bundles/r18 --trust"
    )(import_torchserve)
    app.add_typer(imports, name="import")
    exports = typer.Typer(help="Write a bundle's shards for another server.", no_args_is_help=True)
    exports.command("torchscript", epilog="Example: shardline export torchscript bundles/r50 --out r50-torchscript")(
        export_torchscript
    )
    exports.command("torchserve", epilog="Example: shardline export torchserve bundles/r50 --out r50-torchserve")(
        export_torchserve
    )
    exports.command("triton", epilog="Example: shardline export triton bundles/r50 --out r50-triton --platform onnx")(
        export_triton
    )
    app.add_typer(exports, name="export")


def import_torchserve(
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
    from shardline.formats.torchserve_import import CLASSIFIER_PICTURE, ImportOptions, import_model, read_archive
    from shardline.tables import bundle_table

    chosen = bundle_name(name or out_folder.name)
    options = ImportOptions(
        model=model,
        trust=trust,
        handler=handler,
        picture=replace(CLASSIFIER_PICTURE, height=size, width=size, resize=resize),
    )
    if mean is not None:
        options = replace(options, mean=parse_channels("--mean", mean))
    if std is not None:
        options = replace(options, std=parse_channels("--std", std))
    say(f"reading {archive}")
    captured = shardline.capture(import_model(read_archive(archive), options), pictures=pictures, progress=say)
    planned = shardline.plan(captured, stages=stages, progress=say)
    bundle = shardline.build(captured, out_folder, plan=planned, name=chosen, progress=say)
    out.print(bundle_table(bundle))
    out.print(f"{out_folder}: {bundle.name} {bundle.digest}")


def export_torchscript(bundle: _BundleArgument, out_folder: _OutOption) -> None:
    """Write shards and whole model as TorchScript, scripted and traced, each equal to the bundle's to the bit."""
    from shardline.formats.torchscript import export_torchscript as write_torchscript

    for script in write_torchscript(bundle, out_folder, progress=say):
        out.print(
            f"{out_folder / script.path}" if script.path else f"no {script.form} {script.part}: {escape(script.reason)}"
        )


def export_torchserve(
    bundle: _BundleArgument,
    out_folder: _OutOption,
    workers: Annotated[int, typer.Option(min=1, help="Number of processes per model: minWorkers and maxWorkers")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Maximum number of requests in a batch: batchSize")] = 1,
    delay_ms: Annotated[
        int, typer.Option(min=0, help="Milliseconds that a request waits for its batch to fill: maxBatchDelay")
    ] = 10,
    timeout_s: Annotated[
        int, typer.Option(min=1, help="Seconds after which a worker counts as stuck: responseTimeout")
    ] = 120,
    port: Annotated[
        int, typer.Option(min=1024, max=65533, help="Port of predictions; management and metrics get the next two")
    ] = 8080,
) -> None:
    """Write a .mar for each shard and for the whole model, config.properties, and a README with the commands."""
    from shardline.formats.torchserve_export import STORE, ServeOptions
    from shardline.formats.torchserve_export import export_torchserve as write_torchserve

    options = ServeOptions(workers=workers, batch=batch, delay_ms=delay_ms, timeout_s=timeout_s, port=port)
    for name in write_torchserve(bundle, out_folder, options, progress=say):
        out.print(f"{out_folder / STORE / name}.mar")


def export_triton(
    bundle: _BundleArgument,
    out_folder: _OutOption,
    platform: Annotated[
        Literal["torchscript", "onnx"],
        typer.Option(
            help="Format: torchscript for Triton's PyTorch backend, or onnx where torch.onnx converts the shard"
        ),
    ] = "torchscript",
    batch: Annotated[int, typer.Option(min=1, help="Maximum number of instances in a batch: max_batch_size")] = 8,
    delay_us: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Microseconds that a request waits for its batch to fill: max_queue_delay_microseconds "
            "(default: 1000)",
        ),
    ] = None,
    instances: Annotated[int, typer.Option(min=1, help="Number of copies of each model that run in parallel")] = 1,
) -> None:
    """Write a Triton model repository: a model with config.pbtxt for each shard, and an ensemble that chains them."""
    from shardline.formats.triton import TritonOptions
    from shardline.formats.triton import export_triton as write_triton

    if batch == 1 and delay_us is not None:
        raise UsageError(f"--delay-us {delay_us} is for batches: leave it out, or give --batch 2 or more")
    delay = {} if delay_us is None else {"delay_us": delay_us}
    options = TritonOptions(platform=platform, batch=batch, instances=instances, **delay)
    for model in write_triton(bundle, out_folder, options, progress=say):
        why = escape(f"; no ONNX: {model.reason}") if model.reason else ""
        out.print(f"{out_folder / model.name}: {model.platform}, off by {model.relative_error:.1e} at most{why}")
