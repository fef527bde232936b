"""Build a bundle from a model: capture, plan, cut, save, and compare with the whole before it is put in place."""

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import sympy
import torch
from torch.export import ExportedProgram
from torch.utils._pytree import tree_leaves

from shardline.partition.capture import capture
from shardline.partition.compare import Agreement, Outputs, unequal
from shardline.partition.compiled import opened, select
from shardline.partition.cut import Shard, cut
from shardline.partition.device import choose_device
from shardline.partition.plan import Plan, Planned, PlanOptions, plan
from shardline.partition.prepare import in_precision
from shardline.partition.program import Progress, program_inputs, runnable, silent
from shardline.partition.runtime import Golden, LoadedShard, chain_inputs, run_chain
from shardline.partition.served import prove_served
from shardline.partition.tensors import to_numpy
from shardline.storage.bundle import (
    GOLDEN_PICTURE_FILE,
    GOLDEN_REPLY_FILE,
    GOLDEN_REQUEST_FILE,
    SHARD_FILE,
    WHOLE_FILE,
    Bundle,
    Stage,
    Task,
    TensorSpec,
    Tolerance,
    stage_folder,
)
from shardline.storage.bundle_folder import writing_bundle
from shardline.tasks.registry import task_code, task_reply
from shardline.tasks.request import Request
from shardline.wire.errors import CutError, ModelError
from shardline.wire.frame import is_float
from shardline.wire.v1 import encode_request

if TYPE_CHECKING:
    from shardline.partition.models import Model
    from shardline.wire.view import View

_PICTURES = 16  # enough for a share of equal answers; a CPU without bf16 instructions takes a second for each
_NOISE = 4
_MARGIN = 2.0  # other pictures, and other machines, round differently from what was measured
_TOP1_MARGIN = 0.1
_LEAST_ERROR = 1e-4  # compiled fp32 is far below it, on every machine; batching may change outputs by as much

Run = Callable[[np.ndarray], Outputs]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions(PlanOptions):
    """Options of `build`: those of the plan, and the content of the bundle.

    Attributes:
        precision: "fp32", "bf16" or "fp16".
        targets: what the shards are also compiled for, "cpu" or "cuda".
        fixed_batches: batches that may get a package of their own.
    """

    precision: str = "fp32"
    targets: tuple[str, ...] = ()
    fixed_batches: tuple[int, ...] = (1,)


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenPicture:
    """Picture that a served chain is tested with: the bytes of a PNG file, and a transformer's output for it.

    `pixels` is uint8 [1, channels, height, width]; `view` gives their position in the picture. `inputs` are the further
    inputs, [1, …] each, in the model's order, and `further` what a request gives them as, by name.
    """

    png: bytes
    pixels: np.ndarray
    view: "View"
    inputs: tuple[np.ndarray, ...] = ()
    further: Mapping[str, object] = field(default_factory=dict)


def build(
    model: "Model",
    name: str,
    pictures: np.ndarray,
    options: BuildOptions,
    out: Path,
    *,
    planned: Planned | None = None,
    golden: GoldenPicture | None = None,
    progress: Progress = silent,
) -> tuple[Bundle, Plan]:
    """Build the bundle of `model` at the folder `out`.

    Args:
        name: the bundle's name, a DNS label: Kubernetes objects are named after it.
        pictures: real pictures, uint8 [n, channels, height, width]: costs and golden outputs are measured with them.
        planned: plan of the same model in the same precision; the plan's options in `options` are ignored then.
        golden: kept in the bundle with the whole model's reply; `shardline deploy` sends it to the cluster.
        progress: receives one short line per step.

    Raises:
        UsageError: a precision or device that does not exist.
        ModelError, CutError, PlanError, CompileError: the model, the cuts or the compiler.
        BundleError: `out` holds something else.
    """
    if options.targets:
        from shardline.partition.compiling import check_targets, compile_stages  # most bundles are not compiled

        check_targets(options.targets)
    if planned is None:
        planned = plan(in_precision(model, options.precision), pictures, options, progress=progress)
    liveness, chosen = planned.liveness, planned.plan
    with writing_bundle(out) as (draft, seal):
        shards: list[Shard] = []
        for shard in cut(liveness, chosen.cuts, torch.from_numpy(pictures[:2])):
            progress(f"cutting shard {len(shards)} of {len(chosen.stages)}")
            shards.append(shard)
        description = describe(model, name, chosen, shards, options.precision)
        if golden is not None:
            _save_golden(draft, description, liveness.program, golden)
        is_rounded = options.precision != "fp32"
        whole = capture(model) if is_rounded else liveness.program
        _save_program(whole, draft / WHOLE_FILE)
        loaded = _save_shards(draft, description, shards, pictures[:1])
        reference = _runner(whole, shards[-1].outputs)
        if is_rounded:
            progress(f"comparing {options.precision} with fp32")
            uncut = _runner(liveness.program, shards[-1].outputs)
            _check_equal(run_chain(loaded, pictures[:1]), uncut(pictures[:1]), options.precision)
            tolerance = _measure_tolerance([uncut], reference, pictures, description.task)
            description = replace(description, portable_tolerance=tolerance)
        if options.targets:
            stages = compile_stages(draft, description, options.targets, options.fixed_batches, progress)
            progress("comparing compiled with the whole")
            tolerance = _measure_compiled(draft, loaded, stages, options.targets, reference, pictures)
            description = replace(description, stages=stages, compiled_tolerance=tolerance)
        progress("writing")
        bundle = seal(description)
        progress("asking it as a server does")
        prove_served(draft, bundle, pictures)
        return bundle, chosen


def describe(model: "Model", name: str, chosen: Plan, shards: Sequence[Shard], precision: str = "fp32") -> Bundle:
    """Description of the bundle for bundle.json, without the files.

    Raises:
        ModelError: the number of labels is not the number of classes, or labels for a task that has its own.
    """
    task_code(model.task).check_options(model.task_options)
    _check_labels(model, shards[-1].outputs)
    return Bundle(
        name=name,
        model=model.reference,
        weights=model.weights,
        precision=precision,
        torch_version=torch.__version__.partition("+")[0],
        task=Task(name=model.task, labels=model.labels, options=model.task_options),
        picture=model.picture,
        inputs=model.inputs,
        limits=chosen.limits,
        batch=chosen.batch,
        max_instances=chosen.max_instances,
        threads=chosen.threads,
        stages=tuple(
            Stage(
                index=planned.index,
                cut=shard.cut,
                inputs=shard.inputs,
                outputs=shard.outputs,
                model_ms=round(planned.model_ms, 3),
                weight_bytes=planned.weight_bytes,
                output_bytes=planned.output_bytes,
            )
            for planned, shard in zip(chosen.stages, shards, strict=True)
        ),
    )


def _check_labels(model: "Model", outputs: Sequence[TensorSpec]) -> None:
    task = task_code(model.task)
    if task.labels is not None:
        own = task.labels(model.task_options)
        if model.labels != own:
            named = f"its own labels, {', '.join(own)}: give no others" if own else "no labels: give none"
            raise ModelError(f"a model for the task {model.task} has {named}")
        return
    classes = task.classes([spec.shape for spec in outputs], model.task_options)
    if model.labels and classes is not None and len(model.labels) != classes:
        raise ModelError(f"{len(model.labels)} labels for {classes} classes: give one label a class, or none")


def _save_program(program: ExportedProgram, path: Path) -> None:
    """Save the program alone.

    Example inputs would be pickled, symbols of earlier stages only confuse, and stack traces reveal where the builder's
    files lie.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    used = {symbol for node in program.graph.nodes for symbol in _symbols(node.meta.get("val"))}
    for node in program.graph.nodes:
        node.meta = {key: value for key, value in node.meta.items() if key in {"val", "nn_module_stack"}}
    program._example_inputs = None
    program._range_constraints = {key: value for key, value in program.range_constraints.items() if key in used}
    # torch's own writer ends the process where the disk is full
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    path.write_bytes(buffer.getbuffer())


def _symbols(value: object) -> set[sympy.Symbol]:
    """Symbols in the sizes of a node's value."""
    sizes = value.shape if isinstance(value, torch.Tensor) else [value]
    return {symbol for size in sizes if isinstance(size, torch.SymInt) for symbol in size.node.expr.free_symbols}


def _save_golden(draft: Path, bundle: Bundle, whole: ExportedProgram, golden: GoldenPicture) -> None:
    """Save the picture and the whole model's reply to it, with the threads that the costs were measured with.

    A task with an index has no reply yet: partition/indexing.py saves both.
    """
    if task_code(bundle.task.name).open_index is not None:
        return
    inputs = [torch.tensor(value) for value in (golden.pixels, *golden.inputs)]
    outputs = _run(runnable(whole), inputs, bundle.stages[-1].outputs)
    request = Request(
        outputs=outputs,
        labels=bundle.task.labels,
        options=bundle.task.options,
        views=(golden.view,),
        input_size=(bundle.picture.height, bundle.picture.width),
    )
    reply = bundle.reply(task_reply(bundle.task.name)(request))
    (draft / GOLDEN_PICTURE_FILE).write_bytes(golden.png)
    if bundle.inputs:
        (draft / GOLDEN_REQUEST_FILE).write_bytes(encode_request([golden.png], inputs=[golden.further]))
    (draft / GOLDEN_REPLY_FILE).write_text(json.dumps(reply, indent=1) + "\n")


def _save_shards(draft: Path, bundle: Bundle, shards: Sequence[Shard], pixels: np.ndarray) -> list[LoadedShard]:
    """Save each shard with its golden input and outputs: those of the first picture, uint8 [1, channels, h, w]."""
    loaded = []
    tensors: Mapping[str, np.ndarray] = {}
    for stage, shard in zip(bundle.stages, shards, strict=True):
        folder = draft / stage_folder(stage.index)
        _save_program(shard.program, folder / SHARD_FILE)
        loaded.append(LoadedShard(bundle, stage, runnable(shard.program)))
        tensors = tensors or chain_inputs(loaded[0], pixels)
        outputs = loaded[-1].run(tensors)
        if any(is_float(value.dtype) and np.isnan(value).any() for value in outputs.values()):
            raise CutError(f"shard {stage.index} returns NaN for a real picture: check the weights")
        Golden(tensors, outputs).save(folder)
        tensors = outputs
    return loaded


def _runner(program: ExportedProgram, specs: Sequence[TensorSpec]) -> Run:
    """Function from uint8 [batch, channels, h, w] to the program's outputs, with the names and layout of `specs`."""
    module = runnable(program)

    def run(pixels: np.ndarray) -> Outputs:
        return _run(module, program_inputs(program, torch.tensor(pixels)), specs)

    return run


def _run(module: torch.nn.Module, inputs: Sequence[torch.Tensor], specs: Sequence[TensorSpec]) -> Outputs:
    with torch.inference_mode():
        values = tree_leaves(module(*inputs))
    return {spec.name: to_numpy(value, spec) for spec, value in zip(specs, values, strict=True)}


def _check_equal(chain: Outputs, whole: Outputs, precision: str) -> None:
    """Check that the chain of shards is equal to the uncut program, to the bit.

    Raises:
        CutError: it is not.
    """
    if names := unequal(chain, whole):
        raise CutError(
            f"in {precision} the shards do not give the {', '.join(names)} that the uncut model gives: cut elsewhere"
        )


def _measure_tolerance(runs: Sequence[Run], reference: Run, pictures: np.ndarray, task: Task) -> Tolerance:
    """Compare runs with the reference on pictures, uint8 [n, channels, height, width], and noise, and add a margin."""
    agreement = Agreement(task_code(task.name), task.options)
    for pixels, is_picture in _samples(pictures):
        expected = reference(pixels)
        for run in runs:
            agreement.add(run(pixels), expected, picture=is_picture)
    return stated_tolerance(agreement)


def stated_tolerance(agreement: Agreement) -> Tolerance:
    """Tolerance that a bundle states: the measured differences with a margin.

    Where every answer was equal within the least error, every answer must be.
    """
    top1 = 1.0 if agreement.top1 is None else agreement.top1
    error = max(_MARGIN * agreement.max_relative_error, _LEAST_ERROR)
    exact = top1 == 1.0 and error == _LEAST_ERROR
    return Tolerance(
        max_relative_error=float(f"{error:.2g}"),
        top1_agreement=1.0 if exact else round(max(0.0, top1 - _TOP1_MARGIN), 3),
    )


def _samples(pictures: np.ndarray) -> Iterator[tuple[np.ndarray, bool]]:
    """Yield batches, uint8 [1, channels, height, width], and True for pictures, False for noise."""
    for picture in pictures[:_PICTURES]:
        yield picture[None], True
    generator = np.random.default_rng(0)
    for _ in range(_NOISE):
        yield generator.integers(0, 256, (1, *pictures.shape[1:]), dtype=np.uint8), False


def _measure_compiled(
    draft: Path,
    shards: Sequence[LoadedShard],
    stages: Sequence[Stage],
    targets: Sequence[str],
    reference: Run,
    pictures: np.ndarray,
) -> Tolerance:
    """Compare a draft's compiled packages, for all targets, with the reference, as `_measure_tolerance` does.

    Raises:
        BundleError: a package does not give the golden outputs.
    """
    with ExitStack() as stack:
        chains: list[Run] = []
        for target in targets:
            device = choose_device(target)
            chain = []
            for shard, stage in zip(shards, stages, strict=True):
                folder = draft / stage_folder(stage.index)
                module = stack.enter_context(opened(folder, select(stage, device).packages, stage, device))
                chain.append(LoadedShard(shard.bundle, stage, module, device))
                chain[-1].warm_up(Golden.load(folder))
            chains.append(partial(run_chain, chain))
        return _measure_tolerance(chains, reference, pictures, shards[0].bundle.task)
