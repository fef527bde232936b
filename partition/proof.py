"""What was built, run on real pictures before it is put in place: equal to the whole, or how far from it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from torch.export import ExportedProgram
from torch.utils._pytree import tree_leaves

from shardline.partition.agreement import Agreement, Outputs
from shardline.partition.compiled import opened, select
from shardline.partition.device import choose_device
from shardline.partition.golden import Golden
from shardline.partition.layout import to_numpy
from shardline.partition.program import runnable
from shardline.partition.runtime import LoadedShard
from shardline.storage.bundle import Stage, TensorSpec, Tolerance, stage_folder
from shardline.wire.errors import CutError

_PICTURES = 16  # enough for a share of top classes; in bf16 a CPU without such instructions takes a second for each
_NOISE = 4

Run = Callable[[np.ndarray], Outputs]


def run_of(program: ExportedProgram, specs: Sequence[TensorSpec]) -> Run:
    """uint8 [batch, 3, height, width] -> the program's outputs, named and laid out as the last stage's."""
    module = runnable(program)

    def run(pixels: np.ndarray) -> Outputs:
        with torch.inference_mode():
            values = tree_leaves(module(torch.tensor(pixels)))
        return {spec.name: to_numpy(value, spec) for spec, value in zip(specs, values, strict=True)}

    return run


def chain_of(shards: Sequence[LoadedShard]) -> Run:
    """uint8 [batch, 3, height, width] -> the last shard's outputs."""

    def run(pixels: np.ndarray) -> Outputs:
        tensors: Outputs = {shards[0].stage.inputs[0].name: pixels}
        for shard in shards:
            tensors = shard.run(tensors)
        return tensors

    return run


def prove_equal(chain: Outputs, whole: Outputs, precision: str) -> None:
    """
    Raises:
        CutError: the chain of shards does not give what the uncut program gives, to the bit.
    """
    for name, expected in whole.items():
        if chain[name].tobytes() != expected.tobytes():
            raise CutError(
                f"in {precision} the shards do not give the {name} that the uncut model gives: cut elsewhere"
            )


def tolerance_of(runs: Sequence[Run], reference: Run, pictures: np.ndarray, task: str) -> Tolerance:
    """How far the runs' outputs may be from the reference's, as measured on pictures (uint8 [n, 3, h, w]) and noise."""
    agreement = Agreement(task)
    for pixels, is_picture in _samples(pictures):
        expected = reference(pixels)
        for run in runs:
            agreement.add(run(pixels), expected, picture=is_picture)
    return agreement.tolerance()


def _samples(pictures: np.ndarray) -> Iterator[tuple[np.ndarray, bool]]:
    for picture in pictures[:_PICTURES]:
        yield picture[None], True
    generator = np.random.default_rng(0)
    for _ in range(_NOISE):
        yield generator.integers(0, 256, (1, *pictures.shape[1:]), dtype=np.uint8), False


def compiled_tolerance(
    draft: Path,
    shards: Sequence[LoadedShard],
    stages: Sequence[Stage],
    targets: Sequence[str],
    reference: Run,
    pictures: np.ndarray,
) -> Tolerance:
    """As `tolerance_of`, of the packages in a draft, for all targets.

    Raises:
        BundleError: a package does not give the golden outputs.
    """
    with ExitStack() as stack:
        chains = []
        for target in targets:
            device = choose_device(target)
            chain = []
            for shard, stage in zip(shards, stages, strict=True):
                folder = draft / stage_folder(stage.index)
                module = stack.enter_context(opened(folder, select(stage, device).packages, stage, device))
                chain.append(LoadedShard(shard.bundle, stage, module, device))
                chain[-1].warm_up(Golden.load(folder))
            chains.append(chain_of(chain))
        return tolerance_of(chains, reference, pictures, shards[0].bundle.task.name)
