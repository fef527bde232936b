"""The command `shardline plan`: show where a model would be cut, or where a bundle was."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

import shardline
from shardline.console import out, say
from shardline.options.group import option
from shardline.options.model import ModelArguments, takes_model_options
from shardline.options.plan import PlanArguments, takes_plan_options
from shardline.storage.bundle import BUNDLE_FILE
from shardline.storage.bundle_folder import open_bundle


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: shardline plan torchvision:resnet50 --weights random:0 --stages 3 --explain")(plan)


@takes_plan_options
@takes_model_options
def plan(
    explain: Annotated[
        bool, option("--explain", help="Show the plans that were compared, and why this one was chosen")
    ] = False,
    plot: Annotated[
        Path | None, option(help="Plot costs and cuts along the model into this .png, .svg or .pdf file")
    ] = None,
    as_json: Annotated[
        bool, option("--json", help="Print the plan as JSON, with everything that --explain shows")
    ] = False,
    *,
    model: ModelArguments,
    plan: PlanArguments,
) -> None:
    """Measure MODEL on this machine and show the plan. If MODEL is a bundle's folder, show the plan of that bundle."""
    from shardline.plan_plot import check_plot, draw_plan
    from shardline.tables import bundle_dict

    folder = Path(model["model"])
    if (folder / BUNDLE_FILE).is_file():
        _show(bundle_dict(open_bundle(folder)), as_json=as_json)
        return
    if plot is not None:
        check_plot(plot)
    captured = shardline.capture(**model, progress=say)
    planned = shardline.plan(captured, **plan, progress=say)
    _show(planned.to_dict(), as_json=as_json, explain=explain)
    if plot is not None:
        draw_plan(planned.planned, captured.model.reference, plot)
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
