"""Parts of a bundle to export, its shards and the whole, and the folder that an export is written into.

Each part comes with real inputs at several batch sizes and the outputs of its exported program, so that whatever an
exporter makes of it can be compared before it is written.
"""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.export import ExportedProgram
from torch.utils._pytree import tree_leaves

from shardline.partition.archive import check_torch_version, load_program
from shardline.partition.program import runnable
from shardline.partition.runtime import Golden
from shardline.partition.tensors import to_numpy, to_torch
from shardline.storage.bundle import SHARD_FILE, WHOLE_FILE, Bundle, Stage, stage_folder
from shardline.storage.bundle_folder import open_bundle
from shardline.wire.errors import FileError

TRACED_BATCH = 2  # tracers take sizes of 0 and 1 for constants
BATCHES = (1, TRACED_BATCH, 3)

Tensors = tuple[torch.Tensor, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportPart:
    """One shard, or the whole, with everything an exporter needs.

    Attributes:
        name: the bundle's name, for the whole and a single shard; else with the stage's number appended.
        bundle: the description for a server of this part. For the whole it has one stage, and so another digest.
        stage: specs of the inputs and outputs.
        golden: golden input and outputs of the stage.
        examples: by batch size, inputs with the strides that they have inside the whole, and the program's outputs;
            shapes and dtypes are those of the specs.
    """

    name: str
    bundle: Bundle
    stage: Stage
    program: ExportedProgram
    golden: Golden
    examples: Mapping[int, tuple[Tensors, Tensors]]

    @property
    def is_whole(self) -> bool:
        """True for the whole, and for the shard of a bundle with a single stage."""
        return len(self.bundle.stages) == 1


def read_parts(folder: Path, *, whole: bool = True) -> Iterator[ExportPart]:
    """Yield the shards of the bundle at `folder`, first to last, and then the whole of a bundle with several stages.

    Args:
        whole: False leaves the whole out.

    Raises:
        BundleError: the bundle is incomplete, altered, or of another release of torch.
    """
    bundle = open_bundle(folder)
    check_torch_version(bundle.torch_version)
    goldens = [Golden.load(folder / stage_folder(stage.index)) for stage in bundle.stages]
    inputs = {batch: _inputs(goldens[0], bundle.stages[0], batch) for batch in BATCHES}
    values: Mapping[int, Tensors] = inputs
    for stage, golden in zip(bundle.stages, goldens, strict=True):
        name = f"{bundle.name}-{stage.index}" if len(bundle.stages) > 1 else bundle.name
        program = load_program(folder / stage_folder(stage.index) / SHARD_FILE)
        part = _part(name, bundle, stage, program, golden, values)
        yield part
        values = {batch: _across(outputs, stage) for batch, (_, outputs) in part.examples.items()}
    if whole and len(bundle.stages) > 1 and (folder / WHOLE_FILE).is_file():
        alone = _as_one(bundle)
        golden = Golden(goldens[0].inputs, goldens[-1].outputs)
        yield _part(bundle.name, alone, alone.stages[0], load_program(folder / WHOLE_FILE), golden, inputs)


def _part(
    name: str, bundle: Bundle, stage: Stage, program: ExportedProgram, golden: Golden, inputs: Mapping[int, Tensors]
) -> ExportPart:
    module = runnable(program)
    with torch.inference_mode():
        examples = {batch: (given, tuple(tree_leaves(module(*given)))) for batch, given in inputs.items()}
    return ExportPart(name=name, bundle=bundle, stage=stage, program=program, golden=golden, examples=examples)


def _inputs(golden: Golden, stage: Stage, batch: int) -> Tensors:
    """Golden inputs and changed copies, [batch, …] each: pictures mirrored, further inputs in reverse order."""
    picture, *others = (golden.inputs[spec.name] for spec in stage.inputs)
    different = [[picture, picture[..., ::-1], picture[..., ::-1, :]]]
    different += [[value, value.reshape(-1)[::-1].reshape(value.shape), value] for value in others]
    return tuple(torch.from_numpy(np.ascontiguousarray(np.concatenate(values[:batch]))) for values in different)


def _across(values: Tensors, stage: Stage) -> Tensors:
    """Pass a stage's outputs through a frame, so that they get the strides that the whole has there."""
    return tuple(to_torch(to_numpy(value, spec), spec) for value, spec in zip(values, stage.outputs, strict=True))


def _as_one(bundle: Bundle) -> Bundle:
    """Describe a bundle of the whole alone: the reference, in fp32 whatever the precision of the shards is."""
    first, last = bundle.stages[0], bundle.stages[-1]
    stage = replace(
        last,
        index=0,
        inputs=first.inputs,
        model_ms=round(sum(part.model_ms for part in bundle.stages), 3),
        weight_bytes=sum(part.weight_bytes for part in bundle.stages),
        compiled=(),
    )
    return replace(
        bundle, stages=(stage,), files={}, precision="fp32", portable_tolerance=None, compiled_tolerance=None
    )


@contextmanager
def writing_folder(out: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `out` at the end, in one step; `out` must not exist, or be empty.

    Raises:
        FileError: `out` exists already, or it cannot be written.
    """
    out = out.resolve()
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise FileError(f"{out} exists already: choose another --out or remove it")
        out.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as exc:
        raise FileError(f"{out} cannot be written ({exc.strerror}): choose another --out") from exc
    try:
        yield draft
        draft.chmod(0o755)
        draft.replace(out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
