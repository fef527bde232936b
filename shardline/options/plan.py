"""Options that decide where a model is cut: number of stages, limits, devices and what is optimised."""

import math
from typing import Annotated, Literal, TypedDict

from shardline.manifests.quantities import parse_bytes
from shardline.options.group import option, takes_options
from shardline.wire.errors import UsageError

_PANEL = "Plan"
_STAGES = 3


class PlanArguments(TypedDict):
    """Arguments of `shardline.plan`."""

    stages: int
    cuts: tuple[str, ...]
    batch: int
    objective: Literal["throughput", "latency"]
    limit: int
    memory_per_stage: tuple[int, ...]
    device: tuple[str, ...]
    speeds: tuple[float, ...]
    hop: tuple[float, float] | None
    fresh: bool


def plan_arguments(
    stages: Annotated[
        int | None,
        option(min=1, help="Number of stages; the cuts are planned from measured times (default: 3)", panel=_PANEL),
    ] = None,
    cuts: Annotated[
        str | None,
        option(
            help="Cut after these modules, nodes or positions instead of planning, e.g. layer2.1,layer3.3", panel=_PANEL
        ),
    ] = None,
    batch: Annotated[
        int,
        option(
            min=1,
            help="Number of instances in one request; such a request must keep --limit at every cut",
            panel=_PANEL,
        ),
    ] = 1,
    objective: Annotated[
        Literal["throughput", "latency"] | None,
        option(
            help="Minimise the time of the slowest stage for one batch (throughput, the default), or of all stages "
            "together for one picture (latency)",
            panel=_PANEL,
        ),
    ] = None,
    limit: Annotated[str, option(help="Size limit of a request to a stage, e.g. 6Mi", panel=_PANEL)] = "6Mi",
    memory_per_stage: Annotated[
        str | None,
        option(
            help="Memory limit of a stage's weights, activations and requests, e.g. 2Gi; or one limit per stage, "
            "separated by commas (default: none)",
            panel=_PANEL,
        ),
    ] = None,
    device: Annotated[
        str,
        option(
            help="Device to measure on, cpu or cuda; or one device per stage, separated by commas",
            panel=_PANEL,
        ),
    ] = "cpu",
    speeds: Annotated[
        str | None,
        option(
            help="Speed of each stage's machine relative to this one, e.g. 1,1,4 (default: 1 for all)", panel=_PANEL
        ),
    ] = None,
    hop: Annotated[
        str | None,
        option(
            help="Overhead of one stage: fixed milliseconds, and milliseconds per MiB transferred, e.g. 0.4,3 "
            "(default: measured here, once)",
            panel=_PANEL,
        ),
    ] = None,
    fresh: Annotated[
        bool, option("--fresh", help="Measure again instead of using cached measurements", panel=_PANEL)
    ] = False,
) -> PlanArguments:
    """Read the options' values.

    Raises:
        UsageError: a value that cannot be read, or an option of the planner beside --cuts, which are not planned.
    """
    names = _split(cuts or "")
    if names and stages not in (None, len(names) + 1):
        raise UsageError(f"--cuts {cuts} gives {len(names) + 1} stages, and --stages {stages}: leave --stages out")
    if names and objective is not None:
        raise UsageError(f"--objective {objective} is for planned cuts: leave it out, or --cuts")
    return {
        "stages": len(names) + 1 if names else stages or _STAGES,
        "cuts": names,
        "batch": batch,
        "objective": objective or "throughput",
        "limit": parse_bytes(limit, "--limit"),
        "memory_per_stage": tuple(parse_bytes(size, "--memory-per-stage") for size in _split(memory_per_stage or "")),
        "device": _split(device),
        "speeds": (1.0,) if speeds is None else tuple(_parse_number("--speeds", speed) for speed in _split(speeds)),
        "hop": None if hop is None else _parse_hop(hop),
        "fresh": fresh,
    }


takes_plan_options = takes_options("plan", plan_arguments)


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _parse_hop(text: str) -> tuple[float, float]:
    parts = _split(text)
    if len(parts) != 2:
        raise UsageError(
            f"--hop {text!r}: write two numbers, milliseconds per stage and milliseconds per MiB, e.g. 0.4,3"
        )
    fixed_ms, per_mebibyte_ms = (_parse_number("--hop", part, least=0) for part in parts)
    return fixed_ms, per_mebibyte_ms


def _parse_number(name: str, text: str, least: float = 1e-6) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not least <= number < math.inf:
        raise UsageError(f"{name} {text!r}: write numbers {'from' if least == 0 else 'above'} 0")
    return number
