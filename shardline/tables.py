"""A plan, fresh or read back from a bundle, as a table and as JSON."""

from typing import Any

from rich.table import Table

from partition.plan import Plan
from storage.bundle import Bundle
from wire.limits import mebibytes


def plan_table(plan: Plan) -> Table:
    """One row a stage: what it costs, what it holds, what it passes on."""
    table = _table(len(plan.stages), plan.batch, plan.threads)
    for stage in plan.stages:
        cut = None if stage.cut is None else f"{stage.cut.name} ({stage.cut.index})"
        table.add_row(*_row(stage.index, cut, stage.model_ms, stage.weight_bytes, stage.output_bytes))
    return table


def bundle_table(bundle: Bundle) -> Table:
    """The plan that a bundle was built by."""
    table = _table(len(bundle.stages), bundle.batch, bundle.threads)
    for stage in bundle.stages:
        table.add_row(*_row(stage.index, stage.cut, stage.model_ms, stage.weight_bytes, stage.output_bytes))
    return table


def _table(stages: int, batch: int, threads: int) -> Table:
    table = Table(title=f"plan: {stages} stages, batch {batch}, {threads} threads", title_justify="left")
    for column in ("stage", "cut after", "model ms", "weights", "passes on"):
        table.add_column(column, justify="left" if column == "cut after" else "right")
    return table


def _row(index: int, cut: str | None, model_ms: float, weight_bytes: int, output_bytes: int) -> tuple[str, ...]:
    passes_on = "reply" if cut is None else mebibytes(output_bytes)
    return str(index), cut or "-", f"{model_ms:.1f}", mebibytes(weight_bytes), passes_on


def plan_dict(plan: Plan) -> dict[str, Any]:
    """The plan for scripts: times in ms for one batch, sizes in bytes."""
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
