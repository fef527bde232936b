"""The command `shardline build`: make a bundle from a model."""

from pathlib import Path
from typing import Annotated

import typer

import shardline
from shardline.console import out, say
from shardline.options.group import option
from shardline.options.model import (
    ModelArguments,
    PreparationArguments,
    takes_model_options,
    takes_preparation_options,
)
from shardline.options.plan import PlanArguments, takes_plan_options
from shardline.storage.bundle import bundle_name


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: shardline build torchvision:resnet50 --weights random:0 --stages 3 --out bundles/r50")(
        build
    )


@takes_plan_options
@takes_preparation_options
@takes_model_options
def build(
    out_folder: Annotated[Path, option("--out", help="Folder of the bundle; an older bundle there is replaced")],
    name: Annotated[str | None, option(help="Name of the bundle (default: the folder's name)")] = None,
    precision: Annotated[str, option(help="Precision of weights, activations and frames: fp32, bf16 or fp16")] = "fp32",
    compile_for: Annotated[
        str | None, option("--compile", help="Also compile for this machine: cpu, cuda or cpu,cuda (default: neither)")
    ] = None,
    *,
    model: ModelArguments,
    preparation: PreparationArguments,
    plan: PlanArguments,
) -> None:
    """Capture MODEL, plan its cuts, cut it, and write the bundle."""
    from shardline.partition.compiling import check_targets
    from shardline.tables import bundle_table

    chosen = bundle_name(name or out_folder.name)
    targets = tuple(dict.fromkeys(part.strip() for part in compile_for.split(","))) if compile_for else ()
    check_targets(targets)  # before anything slow is done
    captured = shardline.capture(**model, **preparation, precision=precision, progress=say)
    planned = shardline.plan(captured, **plan, progress=say)
    bundle = shardline.build(captured, out_folder, plan=planned, name=chosen, compile_for=targets, progress=say)
    out.print(bundle_table(bundle))
    out.print(f"{out_folder}: {bundle.name} {bundle.digest}")
