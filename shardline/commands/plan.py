"""`shardline plan`: where a model would be cut."""

import json
from typing import Annotated

import typer

from shardline.console import out, say
from shardline.options import (
    BatchOption,
    CutsOption,
    LimitOption,
    ModelArgument,
    PicturesOption,
    SizeOption,
    StagesOption,
    WeightsOption,
    build_options,
    load_with_pixels,
)


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: shardline plan torchvision:resnet50 --weights random:0 --stages 3 --json")(plan)


def plan(
    model: ModelArgument,
    weights: WeightsOption = None,
    stages: StagesOption = 3,
    cuts: CutsOption = None,
    batch: BatchOption = 1,
    size: SizeOption = None,
    limit: LimitOption = "6MB",
    pictures: PicturesOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Measure MODEL on this machine and show the plan, without writing anything."""
    from partition.build import make_plan
    from shardline.tables import plan_dict, plan_table

    options = build_options(stages, cuts, batch, limit)
    loaded, pixels = load_with_pixels(model, weights, size, pictures)
    _, chosen = make_plan(loaded, pixels, options, say)
    if as_json:
        print(json.dumps(plan_dict(chosen)))
    else:
        out.print(plan_table(chosen))
