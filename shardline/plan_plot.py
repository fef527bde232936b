"""A plan as a picture: what the model costs along its graph, what would cross at each position, and the cuts.

matplotlib draws it: `pip install 'shardline[plots]'`.
"""

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shardline.wire.errors import PlanError

if TYPE_CHECKING:
    from shardline.partition.plan import Planned

_SUFFIXES = (".png", ".svg", ".pdf")
_COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")  # Paul Tol's, told apart by everybody
_GREY = "#555555"
_MEBIBYTE = 1024**2
_INCHES = (11.0, 6.5)
_LABELS = 34  # of modules that have room side by side


def check_plot(path: Path) -> None:
    """
    Raises:
        PlanError: matplotlib is missing, or cannot write such a file.
    """
    if path.suffix.lower() not in _SUFFIXES:
        raise PlanError(f"--plot {path}: allowed are files that end with {', '.join(_SUFFIXES)}")
    if not path.absolute().parent.is_dir():
        raise PlanError(f"--plot {path}: there is no folder {path.absolute().parent}")
    try:
        import matplotlib  # noqa: F401
    except ImportError as exc:
        raise PlanError("--plot needs matplotlib: pip install 'shardline[plots]'") from exc


def draw_plan(planned: "Planned", title: str, path: Path) -> None:
    """Draw the plan into `path`, whose suffix says how."""
    import matplotlib.style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

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
    """The edges where stages begin and end."""
    return [0, *(position.index + 1 for position in planned.plan.cuts), len(planned.costs.body_bytes) - 1]


def _draw_times(axes: Any, planned: "Planned") -> None:
    """Milliseconds from the input on, a colour for each stage; sums rise, so the upper left has room for words."""
    bounds = _bounds(planned)
    total = 0.0
    for stage, (start, end) in zip(planned.plan.stages, pairwise(bounds), strict=True):
        sums = planned.costs.times[stage.place.device].batch_ms[start : end + 1]
        heights = [total + (each - sums[0]) / stage.place.speed for each in sums]
        colour = _COLOURS[stage.index % len(_COLOURS)]
        axes.fill_between(range(start, end + 1), heights, color=colour, alpha=0.3, linewidth=0)
        axes.plot(range(start, end + 1), heights, color=colour, linewidth=2, label=_describe(stage))
        total = heights[-1]
    axes.set_xlim(0, bounds[-1])
    axes.set_ylim(0, total * 1.05 or 1)
    axes.set_ylabel(f"model, ms from the input on\n(batch {planned.plan.batch})")
    for cut in bounds[1:-1]:
        axes.axvline(cut, color=_GREY, linestyle="--", linewidth=0.9)
    axes.legend(loc="upper left", framealpha=0.95, edgecolor="none")


def _describe(stage: Any) -> str:
    """A stage in one line of the legend."""
    here = "" if stage.place.device == "cpu" and stage.place.speed == 1 else f" on {_place(stage.place)}"
    end = "" if stage.cut is None else f" to {stage.cut.name}"
    held = stage.memory_bytes / _MEBIBYTE
    return f"stage {stage.index}{end}{here}: {stage.model_ms:.1f} ms + hop {stage.hop_ms:.1f}, holds {held:.0f} MB"


def _place(place: Any) -> str:
    return place.device if place.speed == 1 else f"{place.device} × {place.speed:g}"


def _draw_bodies(axes: Any, planned: "Planned") -> None:
    """What crosses each edge, the limit where it is near, and what crosses at the cuts."""
    bounds = _bounds(planned)
    batch = planned.plan.batch
    sizes = [each * batch / _MEBIBYTE for each in planned.costs.body_bytes]
    axes.step(range(len(sizes)), sizes, where="mid", color=_GREY, linewidth=1.0)
    axes.fill_between(range(len(sizes)), sizes, step="mid", color=_GREY, alpha=0.15, linewidth=0)
    highest = max(sizes)
    limit = planned.plan.limits.request_bytes / _MEBIBYTE
    if limit <= 2 * highest:
        axes.axhline(limit, color="#aa3377", linewidth=1.0)
        axes.text(bounds[-1], limit, f"--limit {limit:g}Mi", color="#aa3377", ha="right", va="bottom")
        highest = max(highest, limit)
    axes.set_ylim(0, highest * 1.25 or 1)
    axes.set_ylabel(f"passed on there, MB\n(batch {batch})")
    for cut in bounds[1:-1]:
        axes.axvline(cut, color=_GREY, linestyle="--", linewidth=0.9)
        axes.plot([cut], [sizes[cut]], "o", color="black", markersize=5)
        if any(0 < other - cut < 0.07 * bounds[-1] for other in bounds[1:-1]):
            continue  # its number would lie on the next one's
        late = cut > 0.9 * bounds[-1]
        axes.annotate(
            f"{sizes[cut]:.2f} MB",
            (cut, sizes[cut]),
            xytext=(-6 if late else 6, 6),
            textcoords="offset points",
            ha="right" if late else "left",
            fontweight="bold",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
        )


def _name_positions(axes: Any, planned: "Planned") -> None:
    """The cuts by name, then the ends of modules, the outer ones first, as far as there is room."""
    bounds = _bounds(planned)
    cuts = {position.index + 1: position.name for position in planned.plan.cuts}
    shown = {0: "input", bounds[-1]: "output"}
    ends = {position.index + 1: position.names[0] for position in planned.liveness.positions if position.names}
    for edge, name in [*cuts.items(), *sorted(ends.items(), key=lambda each: (each[1].count("."), -each[0]))]:
        if all(abs(edge - other) >= bounds[-1] / _LABELS for other in shown):
            shown[edge] = name
    edges = sorted(shown)
    axes.set_xticks(edges, [shown[edge] for edge in edges], rotation=60, ha="right", rotation_mode="anchor")
    for edge, label in zip(edges, axes.get_xticklabels(), strict=True):
        if edge in cuts:
            label.set_fontweight("bold")
    axes.set_xlabel("the model's operations, in the order in which they run; names are the ends of modules")
