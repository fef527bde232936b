"""The planner's cuts compared with all possible cuts, measured: `python -m benchmarks.planner [--quick]`.

What: ResNet-50 in three stages. `shardline plan` measures each node, adds the times, and chooses among all positions.
Here every segment between two of 18 positions (the ends of its blocks and pools) is cut out and run as a shard in this
process, so that each of the 153 pairs of cuts has a measured chain: three measured shards, and the hop as it was
measured through real servers. The planner's own cuts are measured in the same way. All segments run in each round, in
random order; the time of a segment is its fastest round, as in the planner.

Why: added node times leave out the cost of a boundary (copies, cold caches, a thread pool that starts again), and the
planner may be wrong where that matters.

Ceiling: 1.0 is the best measured pair. Values below 1 are possible, since the planner also cuts inside of blocks.
`planner_over_best` is the slowest stage of its chain divided by that of the best chain, `planner_latency_over_best` the
sum of all stages of its plan for latency divided by the smallest sum. The goal is 1.05 at most.

--quick takes every other position, and fewer rounds. The last line is one JSON object.
"""

import json
import random
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import torch

from shardline.partition.capture import capture, random_pixels
from shardline.partition.costs import HopCost, costs_of
from shardline.partition.cut import Shard, shards_between
from shardline.partition.device import CPU, use_threads
from shardline.partition.liveness import Liveness, analyse
from shardline.partition.models import load_model
from shardline.partition.plan import best_plan
from shardline.partition.profile import Cache, profile
from shardline.partition.program import runnable
from shardline.partition.runtime import LoadedShard
from shardline.partition.search import FRAME_OVERHEAD_BYTES, Goal, Objective, Place
from shardline.storage.bundle import Bundle, PictureSpec, Stage, Task
from shardline.storage.user_cache import user_folder
from shardline.wire.limits import Limits

MODEL, WEIGHTS = "torchvision:resnet50", "random:0"  # values do not matter to times
STAGES = 3
INSIDE = ("maxpool", "layer", "avgpool")  # positions before and after these are never candidates

Cuts = tuple[int, ...]
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment as a shard, with its inputs and the sizes in bytes of inputs and outputs."""

    shard: LoadedShard
    inputs: Arrays
    body_bytes: tuple[int, int]


def main() -> None:
    parser = ArgumentParser(description="Compare the planner's choice with the best measured chain.")
    parser.add_argument("--quick", action="store_true", help="Every other position, and fewer rounds")
    parser.add_argument("--rounds", type=int, help="Number of rounds; default: 10, with --quick 5")
    parser.add_argument("--batch", type=int, default=1, help="Pictures in a batch")
    arguments = parser.parse_args()
    threads = use_threads()
    start = time.monotonic()
    found = planned_by_command(arguments.batch)
    model = load_model(MODEL, weights=WEIGHTS)
    liveness = analyse(capture(model))
    pixels = random_pixels(model, arguments.batch)
    hop = HopCost(**found["hop"])
    chosen = {
        "planner": tuple(stage["position"] for stage in found["stages"][:-1]),
        "planner_latency": planned_for_latency(liveness, pixels, hop),
    }
    room_bytes = (found["request_bytes"] - FRAME_OVERHEAD_BYTES) // arguments.batch
    positions = candidates(liveness, room_bytes, every=2 if arguments.quick else 1)
    figures = compare(
        liveness, hop, chosen, positions, pixels.numpy(), arguments.rounds or (5 if arguments.quick else 10)
    )
    predicted_ms = max(stage["model_ms"] + stage["hop_ms"] for stage in found["stages"])
    figures |= {
        "foretold_ms": round(predicted_ms, 2),
        "threads": threads,
        "batch": arguments.batch,
        "hop": found["hop"],
    }
    print(json.dumps({"benchmark": "planner", **figures, "seconds": round(time.monotonic() - start, 1)}))


def planned_by_command(batch: int) -> dict[str, Any]:
    """Output of `shardline plan`, with all times measured again."""
    what = (MODEL, "--weights", WEIGHTS, "--stages", str(STAGES), "--batch", str(batch), "--fresh", "--json")
    done = subprocess.run([sys.executable, "-m", "shardline", "plan", *what], check=True, stdout=subprocess.PIPE)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def planned_for_latency(liveness: Liveness, pixels: torch.Tensor, hop: HopCost) -> Cuts:
    """Cuts of the plan with the smallest latency, from the times that the command has just measured and cached.

    Args:
        pixels: uint8 [batch, 3, height, width].
    """
    cache = Cache(user_folder())
    single, batch = (profile(liveness, some, CPU, cache=cache, progress=tell) for some in (pixels[:1], pixels))
    costs = costs_of(liveness, {str(CPU): (single, batch)}, hop)
    goal = Goal(places=(Place(device=str(CPU)),) * STAGES, objective=Objective.LATENCY)
    return tuple(position.index for position in best_plan(liveness, costs, goal).cuts)


def tell(line: str) -> None:
    print(f"{line} …", file=sys.stderr)


def candidates(liveness: Liveness, room_bytes: int, every: int) -> list[int]:
    """Positions at the ends of blocks and pools whose tensors fit the limit for one picture, as in the planner."""
    named = [position for position in liveness.positions if position.names and position.name.startswith(INSIDE)]
    outer = [position for position in named if position.name.count(".") <= 1][::every]
    return [position.index for position in outer if position.bytes_per_instance() <= room_bytes]


def compare(
    liveness: Liveness,
    hop: HopCost,
    chosen: Mapping[str, Cuts],
    positions: Sequence[int],
    pixels: np.ndarray,
    rounds: int,
) -> dict[str, object]:
    """Measure the chains of all pairs and the chosen ones; return figures for the last line.

    Args:
        pixels: uint8 [batch, 3, height, width].
    """
    pairs = list(combinations(positions, STAGES - 1))
    pieces = cut_out(liveness, {*pairs, *chosen.values()}, pixels)
    tell(f"measuring {len(pieces)} segments of {len(pairs)} chains, {rounds} rounds")
    taken_ms = measured(pieces, rounds)

    def stages_ms(cuts: Cuts) -> list[float]:
        return [taken_ms[at] + hop.ms(*pieces[at].body_bytes) for at in bounds(cuts, liveness)]

    best = min(pairs, key=lambda cuts: max(stages_ms(cuts)))
    fastest_chain = min(pairs, key=lambda cuts: sum(stages_ms(cuts)))
    figures: dict[str, object] = {
        "planner_over_best": ratio(max(stages_ms(chosen["planner"])), max(stages_ms(best))),
        "planner_latency_over_best": ratio(sum(stages_ms(chosen["planner_latency"])), sum(stages_ms(fastest_chain))),
        "chains": len(pairs),
        "pieces": len(pieces),
    }
    for name, cuts in {**chosen, "best": best, "best_latency": fastest_chain}.items():
        figures[f"{name}_cuts"] = [liveness.positions[cut].name for cut in cuts]
        figures[f"{name}_stages_ms"] = [round(stage_ms, 2) for stage_ms in stages_ms(cuts)]
    return figures


def ratio(over: float, under: float) -> float:
    return round(over / under, 3)


def bounds(cuts: Cuts, liveness: Liveness) -> list[tuple[int, int]]:
    """Positions between which each stage lies; -1 is the input."""
    return list(pairwise((-1, *cuts, len(liveness.positions))))


def cut_out(liveness: Liveness, chains: Iterable[Cuts], pixels: np.ndarray) -> dict[tuple[int, int], Segment]:
    """Cut out every segment that a chain needs, once; outputs of earlier segments are inputs of later ones.

    Args:
        pixels: uint8 [batch, 3, height, width].
    """
    wanted = sorted({at for cuts in chains for at in bounds(cuts, liveness)})
    ends = sorted({end for at in wanted for end in at if 0 <= end < len(liveness.positions)})
    edge = {end: index + 1 for index, end in enumerate(ends)} | {-1: 0, len(liveness.positions): len(ends) + 1}
    tell(f"cutting {len(wanted)} segments")
    shards = shards_between(
        liveness,
        [liveness.positions[end] for end in ends],
        torch.from_numpy(pixels),
        [(edge[start], edge[end]) for start, end in wanted],
    )
    given: dict[int, Arrays] = {}
    pieces = {}
    for (start, end), shard in zip(wanted, shards, strict=True):
        loaded = load(shard)
        inputs = given.setdefault(start, {shard.inputs[0].name: pixels})
        outputs = loaded.run(inputs)
        given.setdefault(end, outputs)
        passed = 0 if end == len(liveness.positions) else size_bytes(outputs)
        pieces[start, end] = Segment(loaded, inputs, (size_bytes(inputs), passed))
    return pieces


def size_bytes(arrays: Arrays) -> int:
    return sum(value.nbytes for value in arrays.values())


def load(shard: Shard) -> LoadedShard:
    """Load the shard as a server does; only the stage of the bundle around it matters here."""
    stage = Stage(
        index=0,
        cut=shard.cut,
        inputs=shard.inputs,
        outputs=shard.outputs,
        model_ms=0.0,
        weight_bytes=0,
        output_bytes=0,
    )
    bundle = Bundle(
        name="planner",
        model=MODEL,
        weights=WEIGHTS,
        precision="fp32",
        torch_version=torch.__version__,
        task=Task(name="classify"),
        picture=PictureSpec(height=224, width=224),
        limits=Limits(),
        batch=1,
        max_instances=1,
        threads=torch.get_num_threads(),
        stages=(stage,),
    )
    return LoadedShard(bundle, stage, runnable(shard.program))


def measured(pieces: Mapping[tuple[int, int], Segment], rounds: int) -> dict[tuple[int, int], float]:
    """Fastest run of each segment in ms; all segments run in each round."""
    order = list(pieces)
    fastest = dict.fromkeys(order, float("inf"))
    shuffle = random.Random(0).shuffle
    for _ in range(rounds):
        shuffle(order)
        for at in order:
            start = time.perf_counter()
            pieces[at].shard.run_joined([pieces[at].inputs])
            fastest[at] = min(fastest[at], (time.perf_counter() - start) * 1000)
    return fastest


if __name__ == "__main__":
    main()
