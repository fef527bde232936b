"""A plan as a table, and as JSON."""

from typing import Any

from rich.table import Table

from partition.plan import Plan
from wire.limits import mebibytes


def plan_table(plan: Plan) -> Table:
    """One row a stage: what it holds, what it costs, what it passes on."""
    table = Table(title=f"{len(plan.stages)} stages, batch {plan.batch}, {plan.threads} threads", title_justify="left")
    for column in ("stage", "cut after", "model ms", "hop ms", "weights", "passes on"):
        table.add_column(column, justify="left" if column == "cut after" else "right")
    for stage in plan.stages:
        table.add_row(
            str(stage.index),
            "-" if stage.cut is None else f"{stage.cut.name} ({stage.cut.index})",
            f"{stage.model_ms:.1f}",
            f"{stage.hop_ms:.1f}",
            mebibytes(stage.weight_bytes),
            "reply" if stage.cut is None else mebibytes(stage.output_bytes),
        )
    return table


def plan_dict(plan: Plan) -> dict[str, Any]:
    """The same, for scripts: times in ms for one batch, sizes in bytes."""
    return {
        "batch": plan.batch,
        "threads": plan.threads,
        "request_bytes": plan.limits.request_bytes,
        "max_instances": plan.max_instances,
        "slowest_ms": round(plan.slowest_ms, 3),
        "stages": [
            {
                "stage": stage.index,
                "cut": None if stage.cut is None else stage.cut.name,
                "position": None if stage.cut is None else stage.cut.index,
                "model_ms": round(stage.model_ms, 3),
                "hop_ms": round(stage.hop_ms, 3),
                "weight_bytes": stage.weight_bytes,
                "output_bytes": stage.output_bytes,
            }
            for stage in plan.stages
        ],
    }
