"""`shardline plan`: where a model would be cut, or a bundle was."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from shardline.console import out, say
from shardline.options import (
    BatchOption,
    CutsOption,
    DeviceOption,
    FreshOption,
    HopOption,
    LimitOption,
    MemoryOption,
    ModelArgument,
    ObjectiveOption,
    PicturesOption,
    SizeOption,
    SpeedsOption,
    StagesOption,
    WeightsOption,
    load_with_pixels,
    planning_options,
)
from shardline.storage.bundle import BUNDLE_FILE
from shardline.storage.bundle_folder import read_bundle


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: shardline plan torchvision:resnet50 --weights random:0 --stages 3 --explain")(plan)


def plan(
    model: ModelArgument,
    weights: WeightsOption = None,
    stages: StagesOption = 3,
    cuts: CutsOption = None,
    batch: BatchOption = 1,
    size: SizeOption = None,
    objective: ObjectiveOption = "throughput",
    limit: LimitOption = "6Mi",
    memory_per_stage: MemoryOption = None,
    device: DeviceOption = "cpu",
    speeds: SpeedsOption = None,
    hop: HopOption = None,
    fresh: FreshOption = False,
    pictures: PicturesOption = None,
    explain: Annotated[bool, typer.Option("--explain", help="show what was weighed, and why this plan")] = False,
    plot: Annotated[
        Path | None, typer.Option(help="draw costs and cuts along the model into this .png or .svg")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON, all that --explain shows included")] = False,
) -> None:
    """Measure MODEL on this machine and show the plan; of a bundle's folder, show the plan that it was built by."""
    from shardline.plan_plot import check_plot, draw_plan
    from shardline.tables import bundle_dict, plan_dict

    if (Path(model) / BUNDLE_FILE).is_file():
        _show(bundle_dict(read_bundle(Path(model))), as_json=as_json)
        return
    if plot is not None:
        check_plot(plot)
    asked = planning_options(
        stages=stages,
        cuts=cuts,
        batch=batch,
        limit=limit,
        objective=objective,
        memory_per_stage=memory_per_stage,
        device=device,
        speeds=speeds,
        hop=hop,
        fresh=fresh,
    )

    from shardline.partition.explain import explain as weigh
    from shardline.partition.planning import PlanOptions, make_plan

    loaded, pixels = load_with_pixels(model, weights, size, pictures)
    planned = make_plan(loaded, pixels, PlanOptions(**asked), say)
    document = plan_dict(planned, weigh(planned.liveness, planned.costs, planned.goal, planned.plan))
    _show(document, as_json=as_json, explain=explain)
    if plot is not None:
        draw_plan(planned, loaded.reference, plot)
        say(f"{plot} drawn")


def _show(document: dict[str, Any], *, as_json: bool, explain: bool = False) -> None:
    from shardline.tables import explanation_table, plan_table

    if as_json:
        print(json.dumps(document))
        return
    out.print(plan_table(document))
    if explain:
        told = document["explain"]
        out.print(explanation_table(document))
        out.print(f"{told['plans']:,} plans are possible, {told['within_limits']:,} keep the limits")
        for reason in told["reasons"]:
            out.print(reason)
        hop = document["hop"]
        out.print(f"a hop: {hop['fixed_ms']} ms and {hop['per_mebibyte_ms']} ms a MB ({hop['source']})")
