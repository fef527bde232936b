"""The bundle: a folder that holds all the shards of one model.

    bundle.json                  what is below, described; its sha256 is the bundle's digest
    whole.pt2                    the whole model, uncut: the reference that `verify` compares with
    golden.png                   a picture, and in
    golden.json                  the whole model's v1 reply to it: what `deploy` asks a cluster
    stages/0/bundle.json         the same bytes again, so that a pod which gets only this folder can trust it
    stages/0/stage.json          {"stage": 0}
    stages/0/shard.pt2           the shard
    stages/0/golden.safetensors  one input of this stage and what it gave: warms the server up and proves it
    stages/0/compiled/cpu/…      the shard compiled for one kind of machine, if that was asked for
    stages/1/…
    stages/K-1/index.faiss, …    what the last stage of a bundle for retrieval looks pictures up in

Trust goes one way: whoever names a bundle's digest (a manifest, a frame) fixes the bytes of bundle.json, which fixes
the sha256 and size of every other file. `stage.json` is only a pointer: if it lies, the digests do not fit.

docs/bundle.md is the normative page.
"""

import hashlib
import json
import re
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

from shardline.storage.store import is_inside
from shardline.storage.typed import MismatchError, typed
from shardline.wire.errors import BundleError
from shardline.wire.limits import Limits

SCHEMA_VERSION = 2
READABLE_VERSIONS = (1, 2)  # 1 knew no compiled packages and no tolerances
BUNDLE_JSON_BYTES = 16 * 1024**2  # of bundle.json itself: thousands of labels and files need a few MB
BUNDLE_FILE = "bundle.json"
STAGE_FILE = "stage.json"
SHARD_FILE = "shard.pt2"
GOLDEN_FILE = "golden.safetensors"
WHOLE_FILE = "whole.pt2"
GOLDEN_PICTURE_FILE = "golden.png"
GOLDEN_REPLY_FILE = "golden.json"

PRECISIONS = ("fp32", "bf16", "fp16")
TARGETS = ("cpu", "cuda")

NAME_PATTERN = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_BATCH_DIM = re.compile(r"(?:([1-9][0-9]{0,8})\*)?batch")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One tensor at a cut.

    `dtype` is safetensors' name (U8, F32, …). A dimension of `shape` is a number, "batch" or "64*batch".
    `dim_order` lists the dimensions from the outermost to the innermost in memory, as `torch.Tensor.dim_order` does:
    a frame carries the tensor in that order, packed. `strides` is None where that is how the whole model has it in
    memory too; a slice or an expanded tensor leaves holes or repeats itself, and its strides are listed, in elements.
    So the next shard sees the very strides that the whole model sees, and the same kernels add in the same order.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    dim_order: tuple[int, ...]
    strides: tuple[int | str, ...] | None = None

    def shape_for(self, batch: int) -> tuple[int, ...]:
        """The shape at this batch size, in the model's own order of dimensions."""
        return _at(self.shape, batch)

    def strides_for(self, batch: int) -> tuple[int, ...] | None:
        """The listed strides at this batch size, in elements."""
        return None if self.strides is None else _at(self.strides, batch)

    def frame_shape_for(self, batch: int) -> tuple[int, ...]:
        """The shape at this batch size as a frame carries it, in the order of memory."""
        shape = self.shape_for(batch)
        return tuple(shape[dim] for dim in self.dim_order)


def _at(dims: tuple[int | str, ...], batch: int) -> tuple[int, ...]:
    return tuple(dim if isinstance(dim, int) else _multiple(dim) * batch for dim in dims)


def _multiple(dim: str) -> int:
    match = _BATCH_DIM.fullmatch(dim)
    if match is None:
        raise BundleError(f"bundle.json has the dimension {dim!r}; allowed are numbers, 'batch' and 'N*batch'")
    return int(match[1] or 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureSpec:
    """How a picture becomes `uint8 [3, height, width]`.

    `fit` is "crop" (the shorter side to `resize` pixels, then the centre, as torchvision's presets do), "stretch" or
    "letterbox". `interpolation` is Pillow's name: "bilinear" or "bicubic".
    """

    height: int
    width: int
    fit: str = "crop"
    resize: int | None = None
    interpolation: str = "bilinear"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What the last shard makes of its tensors: the name of a module in `tasks/` and its labels, if it has any."""

    name: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDigest:
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A shard compiled by AOTInductor, and the machine that it needs: it runs nowhere else.

    `path` is relative to the stage's folder. `batch` is the one that it takes, None for any. `system` and `machine` are
    Python's `sys.platform` and `platform.machine()`, `cpu_features` are named as torch.cpu.get_capabilities() does,
    `gpu_architecture` is "sm_90" or the like for the target cuda, else None. `threads` is how many torch must have:
    weights are packed for that many where the batch is fixed; None for any.
    """

    path: str
    target: str
    batch: int | None
    torch_version: str
    system: str
    machine: str
    cpu_features: tuple[str, ...]
    gpu_architecture: str | None = None
    threads: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far a chain's outputs may be from those of the whole in fp32.

    `max_relative_error` is the largest difference over the largest value of an output, `top1_agreement` the least share
    of pictures with the same answer: the same top class, or the same plates read. Of what a detector gives, sums are
    compared in which the order of things does not count (tasks/registry.py).
    """

    max_relative_error: float
    top1_agreement: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One shard's place in the chain. `cut` names the position after it, None for the last stage."""

    index: int
    cut: str | None
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    model_ms: float  # measured, one batch of `Bundle.batch`
    weight_bytes: int
    output_bytes: int  # of one instance, what crosses to the next stage
    compiled: tuple[Package, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """bundle.json, parsed.

    `portable_tolerance` is of the portable shards; None means to the bit, which holds in fp32. `compiled_tolerance` is
    of the compiled ones, None where there are none.
    """

    name: str
    model: str
    weights: str
    precision: str
    torch_version: str
    task: Task
    picture: PictureSpec
    limits: Limits
    batch: int  # the largest batch that a stage runs
    max_instances: int  # the most pictures in one request: what fits `limits.request_bytes` at every cut
    threads: int  # torch threads when the costs were measured
    stages: tuple[Stage, ...]
    portable_tolerance: Tolerance | None = None
    compiled_tolerance: Tolerance | None = None
    files: Mapping[str, FileDigest] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    @property
    def digest(self) -> str:
        """'sha256:…' of bundle.json's bytes."""
        return digest_of(self.to_json())

    def to_json(self) -> bytes:
        """bundle.json's bytes: sorted keys, so that equal bundles have equal digests."""
        document = asdict(self)
        if self.schema_version == 1:  # as it was written, so that its digest stays
            _without_since_2(document)
        return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


def _without_since_2(document: dict[str, Any]) -> None:
    del document["portable_tolerance"], document["compiled_tolerance"]
    for stage in document["stages"]:
        del stage["compiled"]


def parse_bundle(data: bytes) -> Bundle:
    """bundle.json's bytes -> Bundle.

    Raises:
        BundleError: not JSON, another schema version, fields missing, unknown or of the wrong type, values that make no
            sense (files outside the bundle, stages out of order), or bytes that `to_json` would not write.
    """
    document = load_json(data, BUNDLE_FILE)
    version = document.get("schema_version")
    if type(version) is not int or version not in READABLE_VERSIONS:
        raise BundleError(
            f"{BUNDLE_FILE} has schema_version {reprlib.repr(version)}; this Shardline reads "
            f"{' and '.join(map(str, READABLE_VERSIONS))}: build the bundle again"
        )
    try:
        bundle: Bundle = typed(Bundle, document)
    except MismatchError as exc:
        raise _off_schema(str(exc)) from exc
    problems = list(islice(_problems(bundle), 5))
    if problems:
        raise _off_schema("; ".join(problems))
    if bundle.to_json() != data:  # else the file's digest and `Bundle.digest` would differ
        raise _off_schema("its bytes are not those that its content is written with")
    return bundle


def _off_schema(what: str) -> BundleError:
    return BundleError(f"{BUNDLE_FILE} does not follow its schema ({what}): build the bundle again")


def load_json(data: bytes, name: str) -> dict[str, Any]:
    if len(data) > BUNDLE_JSON_BYTES:
        raise BundleError(f"{name} has {len(data)} bytes; allowed are {BUNDLE_JSON_BYTES}: build the bundle again")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise BundleError(f"{name} is not JSON ({exc}): build the bundle again") from exc
    if not isinstance(document, dict):
        raise BundleError(f"{name} is not a JSON object: build the bundle again")
    return document


def _problems(bundle: Bundle) -> Iterator[str]:
    """What the types let through and no bundle has."""
    if not NAME_PATTERN.fullmatch(bundle.name):
        yield f"name is {reprlib.repr(bundle.name)}, not small letters, digits and '-'"
    if bundle.precision not in PRECISIONS:
        yield f"precision is {reprlib.repr(bundle.precision)}, not one of {', '.join(PRECISIONS)}"
    if bundle.precision != "fp32" and bundle.portable_tolerance is None:
        yield f"it has no portable_tolerance, and is in {reprlib.repr(bundle.precision)}"
    if any(stage.compiled for stage in bundle.stages) and bundle.compiled_tolerance is None:
        yield "it has no compiled_tolerance, and compiled packages"
    for tolerance in (bundle.portable_tolerance, bundle.compiled_tolerance):
        if tolerance is not None:
            yield from _tolerance_problems(tolerance)
    for field_name in ("batch", "max_instances", "threads"):
        if getattr(bundle, field_name) < 1:
            yield f"{field_name} is {getattr(bundle, field_name)}, not 1 or more"
    indexes = [stage.index for stage in bundle.stages]
    if not indexes or indexes != list(range(len(indexes))):
        yield f"stages are {reprlib.repr(indexes)}, not 0, 1, … in order"
    for stage in bundle.stages:
        if not 0 <= stage.model_ms < float("inf"):
            yield f"stages[{stage.index}].model_ms is {stage.model_ms}, not a time"
        for spec in stage.inputs + stage.outputs:
            yield from _spec_problems(spec, f"stages[{stage.index}]")
        for package in stage.compiled:
            yield from _package_problems(package, bundle, stage.index)
    for path, entry in bundle.files.items():
        if not is_inside(path):
            yield f"files has {reprlib.repr(path)}, not a path inside the bundle"
        if not _SHA256.fullmatch(entry.sha256) or entry.size_bytes < 0:
            yield f"files[{reprlib.repr(path)}] has no sha256 and size"


def _tolerance_problems(tolerance: Tolerance) -> Iterator[str]:
    if not 0 <= tolerance.max_relative_error < float("inf"):
        yield f"a max_relative_error is {tolerance.max_relative_error}, not a number from 0"
    if not 0 <= tolerance.top1_agreement <= 1:
        yield f"a top1_agreement is {tolerance.top1_agreement}, not from 0 to 1"


def _package_problems(package: Package, bundle: Bundle, index: int) -> Iterator[str]:
    where = f"stages[{index}].compiled"
    if f"{stage_folder(index)}/{package.path}" not in bundle.files:
        yield f"{where} has {reprlib.repr(package.path)}, which files do not list"
    if package.target not in TARGETS:
        yield f"{where} has the target {reprlib.repr(package.target)}, not one of {', '.join(TARGETS)}"
    for what, count in (("batch", package.batch), ("threads", package.threads)):
        if count is not None and count < 1:
            yield f"{where} has {what} {count}, not 1 or more"
    if (package.target == "cuda") != (package.gpu_architecture is not None):
        yield f"{where} has a gpu_architecture where the target is not cuda, or none where it is"
    texts = (package.torch_version, package.system, package.machine, package.gpu_architecture or "")
    for text in (*texts, *package.cpu_features):
        if not text.isprintable():  # these end up in logs
            yield f"{where} has {reprlib.repr(text)}, not printable text"


def _spec_problems(spec: TensorSpec, where: str) -> Iterator[str]:
    if sorted(spec.dim_order) != list(range(len(spec.shape))):
        yield f"{where} has the dim_order {reprlib.repr(spec.dim_order)} for {len(spec.shape)} dimensions"
    if spec.strides is not None and len(spec.strides) != len(spec.shape):
        yield f"{where} has the strides {reprlib.repr(spec.strides)} for {len(spec.shape)} dimensions"
    for dim in spec.shape + (spec.strides or ()):
        if dim < 0 if isinstance(dim, int) else not _BATCH_DIM.fullmatch(dim):
            yield f"{where} has the dimension {reprlib.repr(dim)}, not a number, 'batch' or 'N*batch'"


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def stage_folder(index: int) -> str:
    return f"stages/{index}"
