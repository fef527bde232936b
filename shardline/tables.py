"""A plan, fresh or read back from a bundle, as a table and as JSON."""

from typing import TYPE_CHECKING, Any

from rich.table import Table

from storage.bundle import Bundle
from wire.limits import mebibytes

if TYPE_CHECKING:
    from partition.plan import Plan


def plan_dict(plan: "Plan") -> dict[str, Any]:
    """A fresh plan for scripts: times in ms for one batch, sizes in bytes."""
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


def bundle_dict(bundle: Bundle) -> dict[str, Any]:
    """The plan that a bundle was built by, as far as the bundle tells."""
    return {
        "batch": bundle.batch,
        "threads": bundle.threads,
        "request_bytes": bundle.limits.request_bytes,
        "max_instances": bundle.max_instances,
        "stages": [
            {
                "stage": stage.index,
                "cut": stage.cut,
                "model_ms": stage.model_ms,
                "weight_bytes": stage.weight_bytes,
                "output_bytes": stage.output_bytes,
            }
            for stage in bundle.stages
        ],
    }


def plan_table(plan: "Plan") -> Table:
    return _table(plan_dict(plan))


def bundle_table(bundle: Bundle) -> Table:
    return _table(bundle_dict(bundle))


def _table(plan: dict[str, Any]) -> Table:
    """One row a stage: what it costs, what it holds, what it passes on."""
    title = f"plan: {len(plan['stages'])} stages, batch {plan['batch']}, {plan['threads']} threads"
    table = Table(title=title, title_justify="left")
    for column in ("stage", "cut after", "model ms", "weights", "passes on"):
        table.add_column(column, justify="left" if column == "cut after" else "right")
    for stage in plan["stages"]:
        table.add_row(
            str(stage["stage"]),
            _cut(stage),
            f"{stage['model_ms']:.1f}",
            mebibytes(stage["weight_bytes"]),
            "reply" if stage["cut"] is None else mebibytes(stage["output_bytes"]),
        )
    return table


def _cut(stage: dict[str, Any]) -> str:
    if stage["cut"] is None:
        return "-"
    return f"{stage['cut']} ({stage['position']})" if "position" in stage else str(stage["cut"])
