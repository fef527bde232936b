"""The command `shardline export`: write a bundle's shards for another server."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from shardline.console import out, say

BundleArgument = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of the bundle")]
OutOption = Annotated[Path, typer.Option("--out", help="Folder to write; it must not exist yet")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Write a bundle's shards for another server.", no_args_is_help=True)
    group.command("torchscript", epilog="Example: shardline export torchscript bundles/r50 --out r50-torchscript")(
        torchscript
    )
    group.command("torchserve", epilog="Example: shardline export torchserve bundles/r50 --out r50-torchserve")(
        torchserve
    )
    group.command("triton", epilog="Example: shardline export triton bundles/r50 --out r50-triton --platform onnx")(
        triton
    )
    app.add_typer(group, name="export")


def torchscript(bundle: BundleArgument, out_folder: OutOption) -> None:
    """Write shards and whole model as TorchScript, scripted and traced, each equal to the bundle's to the bit."""
    from shardline.formats.torchscript import export_torchscript

    for script in export_torchscript(bundle, out_folder, say):
        out.print(f"{out_folder / script.path}" if script.path else f"no {script.form} {script.part}: {script.reason}")


def torchserve(
    bundle: BundleArgument,
    out_folder: OutOption,
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
    from shardline.formats.mar import STORE, ServeOptions, export_torchserve

    options = ServeOptions(workers=workers, batch=batch, delay_ms=delay_ms, timeout_s=timeout_s, port=port)
    for name in export_torchserve(bundle, out_folder, options, say):
        out.print(f"{out_folder / STORE / name}.mar")


def triton(
    bundle: BundleArgument,
    out_folder: OutOption,
    platform: Annotated[
        Literal["torchscript", "onnx"],
        typer.Option(
            help="Format: torchscript for Triton's PyTorch backend, or onnx where torch.onnx converts the shard"
        ),
    ] = "torchscript",
    batch: Annotated[int, typer.Option(min=1, help="Maximum number of instances in a batch: max_batch_size")] = 8,
    delay_us: Annotated[
        int,
        typer.Option(
            min=0, help="Microseconds that a request waits for its batch to fill: max_queue_delay_microseconds"
        ),
    ] = 1000,
    instances: Annotated[int, typer.Option(min=1, help="Number of copies of each model that run in parallel")] = 1,
) -> None:
    """Write a Triton model repository: a model with config.pbtxt for each shard, and an ensemble that chains them."""
    from shardline.formats.triton import TritonOptions, export_triton

    options = TritonOptions(platform=platform, batch=batch, delay_us=delay_us, instances=instances)
    for model in export_triton(bundle, out_folder, options, say):
        why = f"; no ONNX: {model.reason}" if model.reason else ""
        out.print(f"{out_folder / model.name}: {model.platform}, off by {model.relative_error:.1e} at most{why}")
