"""Tables and JSON of a plan, a new one or that of a bundle."""

from typing import TYPE_CHECKING, Any

from rich.table import Table

from shardline.storage.bundle import Bundle
from shardline.wire.limits import format_bytes

if TYPE_CHECKING:
    from shardline.partition.explain import Explanation
    from shardline.partition.plan import Plan, Planned


def plan_dict(planned: "Planned", explanation: "Explanation") -> dict[str, Any]:
    """Return a new plan as JSON for scripts: times in ms, sizes in bytes.

    `model_ms`, `hop_ms`, `memory_bytes` and the largest request hold for one batch; `single_ms`, `latency_ms` and
    `output_bytes` for one picture. `request_bytes` is the limit.
    """
    plan = planned.plan
    return {
        "batch": plan.batch,
        "threads": plan.threads,
        "objective": plan.objective.value,
        "request_bytes": plan.limits.request_bytes,
        "max_instances": plan.max_instances,
        **_figures(plan),
        "hop": {
            "fixed_ms": planned.costs.hop.fixed_ms,
            "per_mebibyte_ms": planned.costs.hop.per_mebibyte_ms,
            "source": planned.costs.hop.source,
        },
        "measured_at": {device: times.measured_at for device, times in planned.costs.times.items()},
        "stages": [
            {
                "stage": stage.index,
                "cut": None if stage.cut is None else stage.cut.name,
                "position": None if stage.cut is None else stage.cut.index,
                "device": stage.place.device,
                "speed": stage.place.speed,
                "model_ms": round(stage.model_ms, 3),
                "hop_ms": round(stage.hop_ms, 3),
                "single_ms": round(stage.single_ms, 3),
                "weight_bytes": stage.weight_bytes,
                "activation_bytes": stage.peak_bytes,
                "memory_bytes": stage.memory_bytes,
                "output_bytes": stage.output_bytes,
            }
            for stage in plan.stages
        ],
        "explain": {
            "plans": explanation.plans,
            "within_limits": explanation.within_limits,
            "reasons": list(explanation.reasons),
            "weighed": [
                {
                    "cuts": [position.name for position in candidate.plan.cuts],
                    **_figures(candidate.plan),
                    "taken": candidate.taken,
                    "over": list(candidate.over),
                }
                for candidate in explanation.candidates
            ],
        },
    }


def _figures(plan: "Plan") -> dict[str, Any]:
    return {
        "slowest_ms": round(plan.slowest_ms, 3),
        "latency_ms": round(plan.latency_ms, 3),
        "largest_request_bytes": plan.request_bytes,
        "largest_memory_bytes": plan.memory_bytes,
    }


def bundle_dict(bundle: Bundle) -> dict[str, Any]:
    """Return the plan that a bundle was built by; a bundle stores only a part of it."""
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


def bundle_table(bundle: Bundle) -> Table:
    return plan_table(bundle_dict(bundle))


def plan_table(plan: dict[str, Any]) -> Table:
    """Make the table of `plan_dict` or `bundle_dict`: one row per stage with its time, memory and output."""
    title = f"plan: {len(plan['stages'])} stages, batch {plan['batch']}, {plan['threads']} threads"
    is_new = "slowest_ms" in plan
    table = Table(title=title, title_justify="left")
    for column in ("stage", "cut after", "model ms", "weights", *(["memory"] if is_new else []), "passes on"):
        table.add_column(column, justify="left" if column == "cut after" else "right")
    for stage in plan["stages"]:
        table.add_row(
            str(stage["stage"]),
            _cut(stage),
            f"{stage['model_ms']:.1f}",
            format_bytes(stage["weight_bytes"]),
            *([format_bytes(stage["memory_bytes"])] if is_new else []),
            "reply" if stage["cut"] is None else format_bytes(stage["output_bytes"]),
        )
    return table


def _cut(stage: dict[str, Any]) -> str:
    if stage["cut"] is None:
        return "-"
    return f"{stage['cut']} ({stage['position']})" if "position" in stage else str(stage["cut"])


def explanation_table(plan: dict[str, Any]) -> Table:
    """Make the table of the compared plans of `plan_dict`: one row per plan, the best in the objective first."""
    title = "plans that no other beats in all four: slowest stage for a batch, latency of one picture, request, memory"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    table.add_column("cut after")
    for column in ("slowest", "latency", "request", "memory"):
        table.add_column(column, justify="right")
    for candidate in plan["explain"]["weighed"]:
        table.add_row(
            "taken" if candidate["taken"] else "\n".join(candidate["over"]),
            ", ".join(candidate["cuts"]) or "-",
            f"{candidate['slowest_ms']:.1f}",
            f"{candidate['latency_ms']:.1f}",
            format_bytes(candidate["largest_request_bytes"]),
            format_bytes(candidate["largest_memory_bytes"]),
        )
    return table
