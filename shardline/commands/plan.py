"""`shardline plan`: where a model would be cut, or a bundle was."""

import json
from pathlib import Path
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
from storage.bundle import BUNDLE_FILE
from storage.bundle_folder import read_bundle


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
    """Measure MODEL on this machine and show the plan; of a bundle's folder, show the plan that it was built by."""
    from partition.planning import make_plan
    from shardline.tables import bundle_dict, bundle_table, plan_dict, plan_table

    if (Path(model) / BUNDLE_FILE).is_file():
        bundle = read_bundle(Path(model))
        document, table = bundle_dict(bundle), bundle_table(bundle)
    else:
        options = build_options(stages, cuts, batch, limit)
        loaded, pixels = load_with_pixels(model, weights, size, pictures)
        _, chosen = make_plan(loaded, pixels, options, say)
        document, table = plan_dict(chosen), plan_table(chosen)
    if as_json:
        print(json.dumps(document))
    else:
        out.print(table)
