"""The Python API from a model to a proved bundle: `capture`, `plan`, `build` and `verify`.

Arguments are named as the options of the commands that call these functions. docs/python.md shows them at work.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import nn

from shardline.client.pictures import display_name
from shardline.manifests.quantities import parse_bytes
from shardline.partition.build import BuildOptions
from shardline.partition.build import build as build_bundle
from shardline.partition.compiled import PROGRAMS
from shardline.partition.compiling import check_targets
from shardline.partition.device import use_threads
from shardline.partition.explain import Explanation
from shardline.partition.explain import explain as explain_plan
from shardline.partition.hops import hop_cost
from shardline.partition.inputs import with_inputs
from shardline.partition.models import Model, module_preprocessing
from shardline.partition.outputs import check_outputs
from shardline.partition.pictures import Size, resized
from shardline.partition.plan import Planned, PlanOptions, StagePlan
from shardline.partition.plan import plan as plan_stages
from shardline.partition.prepare import in_precision, prepare, with_picture
from shardline.partition.preprocessing import OPTION, check_channels, own_preprocessing
from shardline.partition.profile import Cache
from shardline.partition.program import Progress, silent
from shardline.partition.search import Objective
from shardline.partition.summary import preprocessing_line
from shardline.partition.verify import VerifyReport, random_batches
from shardline.partition.verify import verify as verify_bundle
from shardline.predictors.picture import to_pixels
from shardline.storage.bundle import Bundle, PictureSpec, bundle_name
from shardline.storage.bundle_folder import open_bundle
from shardline.storage.inputs import parse_inputs
from shardline.storage.user_cache import user_folder
from shardline.tables import plan_dict
from shardline.tasks.registry import TaskName, task_code
from shardline.training.folder import check_pictures, picture_files
from shardline.training.models import for_task, load_by_name
from shardline.training.samples import calibration_pixels, golden_picture, task_samples
from shardline.wire.errors import PictureError, UsageError
from shardline.wire.limits import REQUEST_BYTES, Limits
from shardline.wire.typed import Scalar

Channels = tuple[float, ...]
"""One number for each channel of the pictures."""

Pictures = str | Path | Sequence[str | Path]
"""A folder, which is searched for pictures, or paths of pictures."""

_ANY_SIZE = PictureSpec(height=224, width=224)  # of the input, which is not known yet
_PictureFiles = list[tuple[str, Callable[[], bytes]]]  # name, and how to read it


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CapturedModel:
    """A model that can be planned and built: loaded, with what its pictures and outputs are.

    `pixels` is uint8 [n, channels, h, w], real pictures to measure it with. `precision` is what the shards will
    compute in; the model itself stays in fp32, to be compared with.
    """

    model: Model
    pixels: np.ndarray
    precision: str = "fp32"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelPlan:
    """The plan that was chosen for a captured model, and everything it was chosen by."""

    captured: CapturedModel
    planned: Planned

    @property
    def stages(self) -> tuple[StagePlan, ...]:
        """The stages with their cuts, times, sizes and memory."""
        return self.planned.plan.stages

    @property
    def cuts(self) -> tuple[str, ...]:
        """Names of the positions after which the model is cut."""
        return tuple(position.name for position in self.planned.plan.cuts)

    @property
    def slowest_ms(self) -> float:
        """Time of the slowest stage for one batch, overhead included: it bounds the throughput."""
        return self.planned.plan.slowest_ms

    @property
    def latency_ms(self) -> float:
        """Time of one picture alone through all stages."""
        return self.planned.plan.latency_ms

    def explain(self) -> Explanation:
        """Compare the plan with the others that no plan beats in every respect."""
        planned = self.planned
        return explain_plan(planned.liveness, planned.costs, planned.goal, planned.plan)

    def to_dict(self) -> dict[str, Any]:
        """Return what `shardline plan --json` prints: times in ms, sizes in bytes."""
        return plan_dict(self.planned, self.explain())


def capture(
    model: str | nn.Module | Model,
    *,
    weights: str | None = None,
    size: Size | None = None,
    fit: Literal["crop", "stretch", "letterbox"] | None = None,
    resize: int | None = None,
    interpolation: Literal["bilinear", "bicubic", "nearest"] | None = None,
    mode: Literal["L", "RGB", "RGBA"] | None = None,
    inputs: Sequence[str] = (),
    pictures: Pictures | None = None,
    mean: Channels | None = None,
    std: Channels | None = None,
    labels: Sequence[str] | None = None,
    task: TaskName | None = None,
    options: Mapping[str, Scalar] | None = None,
    embed: bool = False,
    precision: str = "fp32",
    progress: Progress = silent,
) -> CapturedModel:
    """Load a model, and prepare the pictures that it is measured with; random weights are calibrated on them.

    Args:
        model: a name as `shardline build` takes it, e.g. "torchvision:resnet50" or "package.module:factory"; or a
            module that takes normalised float32 [batch, channels, height, width].
        weights: a name of torchvision's, a .safetensors or .pt file, or "random:SEED"; a module comes with its own.
        size: of the input in pixels: one number, or height and width; a module needs it.
        fit: method that fits a picture to the input; default: the model's own, for a module "crop" where the input is
            square, else "stretch".
        resize: length in pixels of the shorter side before the crop.
        interpolation: resizing filter; default: the model's own, or "bilinear".
        mode: channels of the pictures: "L" is grey; default: as many as the model's first convolution takes.
        inputs: what forward takes after the picture, such as "mask=float32[1,32,32]" or "reference=picture".
        pictures: pictures to measure and calibrate with; default: photographs from scikit-image.
        mean, std: of each channel, from 0 to 1; default: the model's, or ImageNet's for a module.
        labels: names of the classes, in the model's order.
        task: the meaning of the outputs; default: "classify", or the short name's own task.
        options: options of the task, which say what the outputs mean, e.g. {"boxes": "cxcywh"}; default: the model's.
        embed: remove the classification layer, for the task "retrieve".
        precision: "fp32", "bf16" or "fp16" for weights, activations and frames.
        progress: called with a line of text at each step.

    Raises:
        UsageError: arguments that do not go together.
        BundleError: options that the task does not have.
        ModelError: the model cannot be loaded, its weights do not fit, or its outputs are not those of the task.
    """
    check_channels(mean, std)
    if embed and task not in (None, "retrieve"):
        raise UsageError(f"embed gives a model for the task retrieve, not {task}: leave one of them out")
    task = "retrieve" if embed else task
    if pictures is not None:
        check_pictures(_paths(pictures), _ANY_SIZE, Limits())  # before anything slow is done
    if isinstance(model, str):
        progress(f"loading {model}")
        loaded = load_by_name(model, weights, size, task)
    else:
        loaded = model if isinstance(model, Model) else _from_module(model, weights, size)
        loaded = loaded if task is None else for_task(loaded, task)
    if options:
        loaded = replace(loaded, task_options={**loaded.task_options, **options})
    task_code(loaded.task).check_options(loaded.task_options)
    loaded = with_picture(loaded, fit=fit, resize=resize, interpolation=interpolation, mode=mode)
    loaded = with_inputs(loaded, parse_inputs(inputs))
    if loaded.inputs and loaded.task == "retrieve":
        raise UsageError("an index is built of pictures alone, and the model takes more: leave --input or retrieve out")
    files = [read() for _, read in _picture_files(pictures, loaded.task, progress)]
    pixels = calibration_pixels(files, loaded.picture)
    names = None if labels is None else tuple(labels)
    loaded = prepare(loaded, pixels, mean=mean, std=std, labels=names, embed=embed, progress=progress)
    loaded = check_outputs(loaded, pixels, progress)
    progress(preprocessing_line(loaded))
    return CapturedModel(model=loaded, pixels=pixels, precision=precision)


def plan(
    captured: CapturedModel,
    *,
    stages: int = 3,
    cuts: Sequence[str] = (),
    batch: int = 1,
    objective: Literal["throughput", "latency"] = "throughput",
    limit: int | str = REQUEST_BYTES,
    memory_per_stage: int | str | Sequence[int | str] = (),
    device: str | Sequence[str] = "cpu",
    speeds: float | Sequence[float] = 1.0,
    hop: tuple[float, float] | None = None,
    fresh: bool = False,
    progress: Progress = silent,
) -> ModelPlan:
    """Measure a model on this machine and choose where to cut it.

    Args:
        stages: number of stages, if no `cuts` are given.
        cuts: modules, nodes or positions to cut after, instead of planning.
        batch: instances in one request; the limit must hold for so many at every cut.
        objective: "throughput" minimises the time of the slowest stage for one batch, "latency" that of all stages
            together for one picture.
        limit: size limit of a request to a stage: bytes, or text such as "6Mi".
        memory_per_stage: memory limit in bytes or text such as "2Gi": one for all stages, or one for each; default:
            none.
        device: device to measure on, "cpu" or "cuda": one for all stages, or one for each.
        speeds: speed of the stages' machines relative to this one: one for all stages, or one for each.
        hop: overhead of one stage, in ms and in ms per MiB transferred; default: measured on this machine, once.
        fresh: measure again, even what was measured before.
        progress: called with a line of text at each step.

    Raises:
        ModelError, CutError: the model cannot be captured, or not be cut there.
        PlanError: no plan keeps the limits.
    """
    cache = Cache(user_folder(), progress)
    options = PlanOptions(
        stages=len(cuts) + 1 if cuts else stages,
        cuts=tuple(cuts),
        batch=batch,
        limits=Limits(request_bytes=_bytes("limit", limit)),
        objective=Objective(objective),
        memory_bytes=tuple(_bytes("memory_per_stage", size) for size in _values(memory_per_stage)),
        devices=_values(device),
        speeds=_values(speeds),
        hop=lambda: hop_cost(hop, cache, fresh=fresh, progress=progress),
        cache=cache,
        fresh=fresh,
    )
    rounded = in_precision(captured.model, captured.precision)
    return ModelPlan(captured=captured, planned=plan_stages(rounded, captured.pixels, options, progress=progress))


plan_model = plan  # for `build`, which has a parameter of that name


def build(
    captured: CapturedModel,
    folder: str | Path,
    *,
    plan: ModelPlan | None = None,
    name: str | None = None,
    compile_for: str | Sequence[str] = (),
    progress: Progress = silent,
) -> Bundle:
    """Cut a captured model as planned, and write the bundle at `folder`; an older bundle there is replaced.

    Args:
        plan: where to cut; default: what `plan(captured)` gives.
        name: name of the bundle, which Kubernetes objects are named after; default: the folder's name.
        compile_for: "cpu" or "cuda": also compile the shards for this machine.
        progress: called with a line of text at each step.

    Raises:
        UsageError: the plan is of another captured model.
        CompileError: a shard cannot be compiled here.
        BundleError: the folder holds something else, or no name can be made of its own.
    """
    folder = Path(folder)
    name = bundle_name(name or folder.name)
    targets = _values(compile_for)
    check_targets(targets)
    chosen = plan or plan_model(captured, progress=progress)
    if chosen.captured is not captured:
        raise UsageError("the plan was made for another captured model: plan this one")
    bundle, _ = build_bundle(
        captured.model,
        name,
        captured.pixels,
        BuildOptions(precision=captured.precision, targets=targets),
        folder,
        planned=chosen.planned,
        golden=golden_picture(captured.pixels[0], captured.model.picture, captured.model.inputs),
        progress=progress,
    )
    return bundle


def verify(
    bundle: str | Path,
    *,
    pictures: Pictures | None = None,
    random: int = 4,
    threads: int | None = None,
    program: str = "auto",
    track: Callable[[Sequence[Any]], Iterable[Any]] = iter,
    progress: Progress = silent,
) -> VerifyReport:
    """Compare a bundle's chain of shards with the whole model; `passed` of the report is the verdict.

    Args:
        bundle: the bundle's folder.
        pictures: pictures to compare on; default: photographs from scikit-image, for plates with plates drawn onto
            them.
        random: number of random tensors to compare on as well.
        threads: number of torch threads; default: the CPUs that this process may use.
        program: "portable", "compiled", or "auto": compiled shards too where they fit this machine.
        track: wraps the pictures while they are compared, e.g. `tqdm.tqdm`.
        progress: called with a line of text at each step.

    Raises:
        BundleError: the bundle is incomplete or altered, or has no compiled shards for this machine.
        PictureError: a picture cannot be decoded.
    """
    if program not in PROGRAMS:
        raise UsageError(f"--program {program!r}: allowed are {', '.join(PROGRAMS)}")
    described = open_bundle(bundle)
    if pictures is not None:
        check_pictures(_paths(pictures), described.picture, described.limits)
    files = _picture_files(pictures, described.task.name, progress)
    use_threads(threads)
    noise = random_batches(described.stages[0].inputs[0], random)
    return verify_bundle(Path(bundle), _batches(track(files), described), noise, program=program)


def _from_module(module: nn.Module, weights: str | None, size: Size | None) -> Model:
    if weights is not None:
        raise UsageError(f"a module comes with its own weights: load {weights} into it, or give the model by name")
    if size is None and own_preprocessing(module) is None:
        raise UsageError("a module does not say how large its input is: give size=, in pixels")
    own = module_preprocessing(module, size or 0)
    return Model(
        reference=f"{type(module).__module__}:{type(module).__qualname__}",
        weights="of the module",
        module=module.eval(),
        picture=own.picture if size is None else resized(own.picture, size),
        mean=own.mean,
        std=own.std,
        origins=own.origins if size is None else {**own.origins, "size": OPTION},
    )


def _picture_files(pictures: Pictures | None, task: str, progress: Progress = silent) -> _PictureFiles:
    if pictures is None:
        return [(name, partial(bytes, data)) for name, data in task_samples(task, progress).items()]
    return [(display_name(path), path.read_bytes) for path in _paths(pictures)]


def _paths(pictures: Pictures) -> list[Path]:
    return picture_files(Path(pictures)) if isinstance(pictures, str | Path) else [Path(path) for path in pictures]


def _batches(files: Iterable[tuple[str, Callable[[], bytes]]], bundle: Bundle) -> Iterator[np.ndarray]:
    """Decode each picture to uint8 [1, channels, height, width]."""
    for name, read in files:
        try:
            yield to_pixels(read(), bundle.picture, bundle.limits)[None]
        except PictureError as exc:
            raise PictureError(f"{name}: {exc}") from exc


def _values(given: Any) -> tuple[Any, ...]:
    """Return one value, or a sequence of values, as a tuple."""
    return (given,) if isinstance(given, str | int | float) else tuple(given)


def _bytes(name: str, size: int | str) -> int:
    return parse_bytes(size, name) if isinstance(size, str) else size
