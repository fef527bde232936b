"""A model -> a bundle on disk: capture, plan, cut, save, and prove before it is put in place."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import sympy
import torch
from torch.export import ExportedProgram

from shardline.partition.capture import capture
from shardline.partition.compiling import FIXED_BATCHES, check_targets, compile_stages
from shardline.partition.cut import Shard, cut
from shardline.partition.golden import Golden
from shardline.partition.models import Model
from shardline.partition.plan import Plan
from shardline.partition.planning import PlanOptions, Progress, make_plan
from shardline.partition.precision import in_precision
from shardline.partition.program import runnable
from shardline.partition.proof import chain_of, compiled_tolerance, prove_equal, run_of, tolerance_of
from shardline.partition.runtime import LoadedShard
from shardline.storage.bundle import (
    GOLDEN_PICTURE_FILE,
    GOLDEN_REPLY_FILE,
    SHARD_FILE,
    WHOLE_FILE,
    Bundle,
    Stage,
    Task,
    TensorSpec,
    stage_folder,
)
from shardline.storage.bundle_folder import writing_bundle
from shardline.tasks.registry import task_code, task_reply
from shardline.tasks.request import Request
from shardline.wire.errors import CutError, ModelError
from shardline.wire.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions(PlanOptions):
    """How to cut, and what to put into the bundle.

    `targets` are what the shards are compiled for besides, "cpu" or "cuda"; `fixed_batches` may get packages of their
    own.
    """

    precision: str = "fp32"
    targets: tuple[str, ...] = ()
    fixed_batches: tuple[int, ...] = FIXED_BATCHES


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenPicture:
    """A picture that proves a served chain: a PNG file's bytes, and what a transformer makes of it.

    `pixels` is uint8 [1, 3, height, width], `view` says where in the picture they lie.
    """

    png: bytes
    pixels: np.ndarray
    view: View


def build(
    model: Model,
    name: str,
    pictures: np.ndarray,
    options: BuildOptions,
    out: Path,
    say: Progress = lambda _: None,
    *,
    golden: GoldenPicture | None = None,
) -> tuple[Bundle, Plan]:
    """Build the bundle of `model` at the folder `out`.

    Args:
        name: the bundle's name, a DNS label: Kubernetes objects are named after it.
        pictures: uint8 [n, 3, height, width], real ones: costs are measured and golden outputs made with them.
        say: told what is being done, one short line a step.
        golden: is kept in the bundle with the whole model's reply, for `shardline deploy` to ask the cluster with.

    Raises:
        ModelError, CutError, PlanError, CompileError: the model, the cuts or the compiler.
        BundleError: `out` holds something else.
    """
    check_targets(options.targets)
    rounded = in_precision(model, options.precision)
    planned = make_plan(rounded, pictures, options, say)
    liveness, chosen = planned.liveness, planned.plan
    with writing_bundle(out) as (draft, seal):
        shards: list[Shard] = []
        for shard in cut(liveness, chosen.cuts, torch.from_numpy(pictures[:2])):
            say(f"cutting shard {len(shards)} of {len(chosen.stages)}")
            shards.append(shard)
        description = describe(model, name, chosen, shards, options.precision)
        if golden is not None:
            _save_golden(draft, description, liveness.program, golden)
        whole = liveness.program if rounded is model else capture(model)
        _save_program(whole, draft / WHOLE_FILE)
        loaded = _save_shards(draft, description, shards, pictures[:1])
        reference = run_of(whole, shards[-1].outputs)
        if rounded is not model:
            say(f"comparing {options.precision} with fp32")
            uncut = run_of(liveness.program, shards[-1].outputs)
            prove_equal(chain_of(loaded)(pictures[:1]), uncut(pictures[:1]), options.precision)
            description = replace(
                description, portable_tolerance=tolerance_of([uncut], reference, pictures, model.task)
            )
        if options.targets:
            stages = compile_stages(draft, description, options.targets, options.fixed_batches, say)
            say("comparing compiled with the whole")
            tolerance = compiled_tolerance(draft, loaded, stages, options.targets, reference, pictures)
            description = replace(description, stages=stages, compiled_tolerance=tolerance)
        say("writing")
        return seal(description), chosen


def describe(model: Model, name: str, chosen: Plan, shards: Sequence[Shard], precision: str = "fp32") -> Bundle:
    """What bundle.json says, but for the files.

    Raises:
        ModelError: as many labels as a classifier has classes must be given, or none; a detector's are its own.
    """
    _check_labels(model, shards[-1].outputs)
    return Bundle(
        name=name,
        model=model.reference,
        weights=model.weights,
        precision=precision,
        torch_version=torch.__version__.partition("+")[0],
        task=Task(name=model.task, labels=model.labels),
        picture=model.picture,
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


def _check_labels(model: Model, outputs: Sequence[TensorSpec]) -> None:
    own = task_code(model.task).labels
    if own is not None:
        if model.labels != own:
            raise ModelError(f"a model for the task {model.task} has its own labels, {', '.join(own)}: give no others")
        return
    classes = next((spec.shape[1] for spec in outputs if len(spec.shape) == 2), None)
    if model.labels and classes is not None and len(model.labels) != classes:
        raise ModelError(f"{len(model.labels)} labels for {classes} classes: give one label a class, or none")


def _save_program(program: ExportedProgram, path: Path) -> None:
    """Save the program and nothing else.

    Example inputs would be pickled, symbols of earlier stages only confuse, and stack traces tell strangers where the
    builder's files lie.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    used = {symbol for node in program.graph.nodes for symbol in _symbols(node.meta.get("val"))}
    for node in program.graph.nodes:
        node.meta = {key: value for key, value in node.meta.items() if key in {"val", "nn_module_stack"}}
    program._example_inputs = None
    program._range_constraints = {key: value for key, value in program.range_constraints.items() if key in used}
    torch.export.save(program, path)


def _symbols(value: object) -> set[sympy.Symbol]:
    """The symbols in a node's sizes."""
    sizes = value.shape if isinstance(value, torch.Tensor) else [value]
    return {symbol for size in sizes if isinstance(size, torch.SymInt) for symbol in size.node.expr.free_symbols}


def _save_golden(draft: Path, bundle: Bundle, whole: ExportedProgram, golden: GoldenPicture) -> None:
    """Save the picture and what the whole model replies to it, at the threads that the costs were measured with.

    A task that answers from an index has nothing to say yet: partition/indexing.py saves both.
    """
    if task_code(bundle.task.name).open_index is not None:
        return
    outputs = run_of(whole, bundle.stages[-1].outputs)(golden.pixels)
    request = Request(outputs=outputs, labels=bundle.task.labels, views=(golden.view,))
    reply = {"predictions": task_reply(bundle.task.name)(request)}
    (draft / GOLDEN_PICTURE_FILE).write_bytes(golden.png)
    (draft / GOLDEN_REPLY_FILE).write_text(json.dumps(reply, indent=1) + "\n")


def _save_shards(draft: Path, bundle: Bundle, shards: Sequence[Shard], pixels: np.ndarray) -> list[LoadedShard]:
    """Save each shard with its golden input and outputs: what it gives for the first picture, chained."""
    loaded = []
    tensors: Mapping[str, np.ndarray] = {shards[0].inputs[0].name: pixels}
    for stage, shard in zip(bundle.stages, shards, strict=True):
        folder = draft / stage_folder(stage.index)
        _save_program(shard.program, folder / SHARD_FILE)
        loaded.append(LoadedShard(bundle, stage, runnable(shard.program)))
        outputs = loaded[-1].run(tensors)
        if not all(np.isfinite(value).all() for value in outputs.values()):
            raise CutError(
                f"shard {stage.index} gives values that are not finite for a real picture: check the weights"
            )
        Golden(tensors, outputs).save(folder)
        tensors = outputs
    return loaded
