"""Plot of a plan: time along the model's graph, size of a request at each position, and the cuts.

It needs matplotlib: `pip install 'shardline[plots]'`.
"""

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from shardline.wire.limits import MIB, format_bytes

if TYPE_CHECKING:
    from shardline.partition.plan import Planned

_COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")  # Paul Tol's, safe for colour-blind eyes
_GREY = "#555555"
_INCHES = (11.0, 6.5)
_LABELS = 34  # number of module names that fit side by side


def draw_plan(planned: "Planned", title: str, path: Path) -> None:
    """Draw the plan into `path`; its suffix decides the format."""
    with matplotlib.style.context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=_INCHES, layout="constrained")
        FigureCanvasAgg(figure)
        times, bodies = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        _draw_times(times, planned)
        _draw_bodies(bodies, planned)
        _name_positions(bodies, planned)
        plan = planned.plan
        figure.suptitle(
            f"{title}, {len(plan.stages)} stages for {plan.objective.value}: slowest stage {plan.slowest_ms:.1f} ms "
            f"(batch {plan.batch}), one picture {plan.latency_ms:.1f} ms",
            fontsize=11,
        )
        figure.savefig(path, dpi=150)


def _bounds(planned: "Planned") -> list[int]:
    """Return the edges at which stages begin and end."""
    return [0, *(position.index + 1 for position in planned.plan.cuts), len(planned.costs.body_bytes) - 1]


def _draw_times(axes: Any, planned: "Planned") -> None:
    """Draw cumulative milliseconds, a colour per stage. They rise, so the legend fits at the upper left."""
    bounds = _bounds(planned)
    total = 0.0
    for stage, (start, end) in zip(planned.plan.stages, pairwise(bounds), strict=True):
        sums = planned.costs.times[stage.place.device].batch_ms[start : end + 1]
        heights = [total + (batch_ms - sums[0]) / stage.place.speed for batch_ms in sums]
        colour = _COLOURS[stage.index % len(_COLOURS)]
        axes.fill_between(range(start, end + 1), heights, color=colour, alpha=0.3, linewidth=0)
        axes.plot(range(start, end + 1), heights, color=colour, linewidth=2, label=_describe(stage))
        total = heights[-1]
    axes.set_xlim(0, bounds[-1])
    axes.set_ylim(0, total * 1.05 or 1)
    axes.set_ylabel(f"model, cumulative ms\n(batch {planned.plan.batch})")
    for cut in bounds[1:-1]:
        axes.axvline(cut, color=_GREY, linestyle="--", linewidth=0.9)
    axes.legend(loc="upper left", framealpha=0.95, edgecolor="none")


def _describe(stage: Any) -> str:
    """Describe a stage in one line of the legend."""
    here = "" if stage.place.device == "cpu" and stage.place.speed == 1 else f" on {_place(stage.place)}"
    end = "" if stage.cut is None else f" to {stage.cut.name}"
    memory = format_bytes(stage.memory_bytes)
    return f"stage {stage.index}{end}{here}: {stage.model_ms:.1f} ms + hop {stage.hop_ms:.1f}, memory {memory}"


def _place(place: Any) -> str:
    return place.device if place.speed == 1 else f"{place.device} × {place.speed:g}"


def _draw_bodies(axes: Any, planned: "Planned") -> None:
    """Draw the size of a request at each edge, the limit if it is near, and the sizes at the cuts."""
    bounds = _bounds(planned)
    batch = planned.plan.batch
    sizes = [size * batch / MIB for size in planned.costs.body_bytes]
    axes.step(range(len(sizes)), sizes, where="mid", color=_GREY, linewidth=1.0)
    axes.fill_between(range(len(sizes)), sizes, step="mid", color=_GREY, alpha=0.15, linewidth=0)
    highest = max(sizes)
    limit = planned.plan.limits.request_bytes / MIB
    if limit <= 2 * highest:
        axes.axhline(limit, color="#aa3377", linewidth=1.0)
        axes.text(bounds[-1], limit, f"--limit {limit:g}Mi", color="#aa3377", ha="right", va="bottom")
        highest = max(highest, limit)
    axes.set_ylim(0, highest * 1.25 or 1)
    axes.set_ylabel(f"request, MiB\n(batch {batch})")
    for cut in bounds[1:-1]:
        axes.axvline(cut, color=_GREY, linestyle="--", linewidth=0.9)
        axes.plot([cut], [sizes[cut]], "o", color="black", markersize=5)
        if any(0 < later - cut < 0.07 * bounds[-1] for later in bounds[1:-1]):
            continue  # its number would overlap the next one's
        near_end = cut > 0.9 * bounds[-1]
        axes.annotate(
            f"{sizes[cut]:.2f} MiB",
            (cut, sizes[cut]),
            xytext=(-6 if near_end else 6, 6),
            textcoords="offset points",
            ha="right" if near_end else "left",
            fontweight="bold",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
        )


def _name_positions(axes: Any, planned: "Planned") -> None:
    """Label the cuts, then the ends of modules, outer modules first, as far as there is room."""
    bounds = _bounds(planned)
    cuts = {position.index + 1: position.name for position in planned.plan.cuts}
    shown = {0: "input", bounds[-1]: "output"}
    ends = {position.index + 1: position.names[0] for position in planned.liveness.positions if position.names}
    for edge, name in [*cuts.items(), *sorted(ends.items(), key=lambda end: (end[1].count("."), -end[0]))]:
        if all(abs(edge - labelled) >= bounds[-1] / _LABELS for labelled in shown):
            shown[edge] = name
    edges = sorted(shown)
    axes.set_xticks(edges, [shown[edge] for edge in edges], rotation=60, ha="right", rotation_mode="anchor")
    for edge, label in zip(edges, axes.get_xticklabels(), strict=True):
        if edge in cuts:
            label.set_fontweight("bold")
    axes.set_xlabel("operations of the model in the order in which they run; a name marks the end of a module")
