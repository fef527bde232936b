"""bundle.json: the description of a bundle, the folder that holds all shards of one model.

    bundle.json                  describes all that is below; its sha256 is the bundle's digest
    whole.pt2                    the whole model, uncut: the reference that `verify` compares with
    golden.png                   a picture, and
    golden.json                  the whole model's v1 reply to it: `deploy` compares a cluster's reply with it
    golden-request.json          the v1 request with that picture, for a model that takes more inputs than the picture
    stages/0/bundle.json         the same bytes again, so that a pod which gets only this folder can trust it
    stages/0/stage.json          {"stage": 0}
    stages/0/shard.pt2           the shard
    stages/0/golden.safetensors  one input of this stage with its outputs: the server warms up with it and compares
    stages/0/compiled/cpu/…      the shard compiled for one kind of machine, if the build was asked to
    stages/1/…
    stages/K-1/index.faiss, …    the similarity index of the last stage, in a bundle for retrieval

Trust goes one way: whoever names a bundle's digest (a manifest, a frame) fixes the bytes of bundle.json, which fixes
the sha256 and size of every other file. `stage.json` is only a pointer: if it is wrong, the digests do not match.

docs/bundle.md is the normative page.
"""

import hashlib
import json
import re
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any, Literal

from shardline.wire.errors import BundleError
from shardline.wire.limits import MIB, Limits
from shardline.wire.typed import Scalar, from_json, is_relative_path, typed

SCHEMA_VERSION = 3
# version 1 has no compiled packages and no tolerances, version 2 no picture modes, task options and further inputs
READABLE_VERSIONS = (1, 2, 3)
BUNDLE_JSON_BYTES = 16 * MIB  # limit of bundle.json itself: thousands of labels and files need a few MiB
BUNDLE_FILE = "bundle.json"
STAGE_FILE = "stage.json"
SHARD_FILE = "shard.pt2"
GOLDEN_FILE = "golden.safetensors"
WHOLE_FILE = "whole.pt2"
GOLDEN_PICTURE_FILE = "golden.png"
GOLDEN_REPLY_FILE = "golden.json"
GOLDEN_REQUEST_FILE = "golden-request.json"

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of red, green and blue, from 0 to 1
RANDOM_WEIGHTS = "random:"  # followed by the seed
PRECISIONS = ("fp32", "bf16", "fp16")
CHANNELS = {"L": 1, "RGB": 3, "RGBA": 4}  # Pillow's mode of a picture -> its number of channels
TARGETS = ("cpu", "cuda")

DTYPE_NAMES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
}
"""Dtypes that a tensor in a request may have, as numpy names them, and as safetensors does."""

RESERVED_NAMES = frozenset({"image_bytes", "image", "data", "b64", "pixels"})
"""Names that a further input cannot have: those of the first picture."""

INPUT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")

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
    So the next shard sees the same strides as the whole model, and the same kernels add in the same order.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    dim_order: tuple[int, ...]
    strides: tuple[int | str, ...] | None = None

    def shape_for(self, batch: int) -> tuple[int, ...]:
        """The shape at a batch size, in the model's own order of dimensions."""
        return _at(self.shape, batch)

    def strides_for(self, batch: int) -> tuple[int, ...] | None:
        """The listed strides at a batch size, in elements."""
        return None if self.strides is None else _at(self.strides, batch)

    def frame_shape_for(self, batch: int) -> tuple[int, ...]:
        """The shape at a batch size as a frame carries it, in the order of memory."""
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
    """Preprocessing of a picture into `uint8 [channels, height, width]`.

    `mode` is Pillow's name of the colour channels: "L" (grey), "RGB" or "RGBA". `fit` is "crop" (the shorter side to
    `resize` pixels, then the centre, as torchvision's presets do), "stretch" or "letterbox". `interpolation` is
    Pillow's name: "bilinear", "bicubic" or "nearest".
    """

    height: int
    width: int
    fit: str = "crop"
    resize: int | None = None
    interpolation: str = "bilinear"
    mode: str = "RGB"

    @property
    def channels(self) -> int:
        """Number of colour channels: 1, 3 or 4."""
        return CHANNELS[self.mode]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the pixels."""
        return self.channels, self.height, self.width


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """One input beside the first picture, by the name under which each instance of a request gives it.

    `dtype` is safetensors' name, `shape` that of one instance, without the batch. A further picture is uint8 of the
    first one's shape.
    """

    name: str
    kind: Literal["tensor", "picture"]
    dtype: str = "U8"
    shape: tuple[int, ...] = ()

    def __str__(self) -> str:
        """Text form of the input, as the option --input takes it."""
        return f"{self.name}={'picture' if self.kind == 'picture' else self.type_text}"

    @property
    def type_text(self) -> str:
        """Dtype and shape of one instance: 'float32[1,32,32]', or 'float32' for a single number."""
        dtype = next(name for name, short in DTYPE_NAMES.items() if short == self.dtype)
        return f"{dtype}[{','.join(map(str, self.shape))}]" if self.shape else dtype


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The task of the last shard, by its name in tasks/registry.py, and the model's class labels, if it has any.

    `options` say what the model's outputs mean, where they alone do not say it: {"scores": "sigmoid"}. The task's own
    module checks them.
    """

    name: str
    labels: tuple[str, ...] = ()
    options: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDigest:
    """sha256 in hex and size of one file."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A shard compiled by AOTInductor, and the one kind of machine that it runs on.

    `path` is relative to the stage's folder. `batch` is the only batch size that it takes, None for any. `system` and
    `machine` are Python's `sys.platform` and `platform.machine()`, `cpu_features` are named as in
    torch.cpu.get_capabilities(), `gpu_architecture` is "sm_90" or the like for the target cuda, else None. `threads` is
    the number of torch threads that weights are packed for where the batch is fixed; None for any.
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
    """Allowed deviation of a chain's outputs from those of the whole model in fp32.

    `max_relative_error` is the largest difference over the largest value of an output, `top1_agreement` the least share
    of pictures with the same answer: the same top class, or the same plates read. For a detector, sums are compared in
    which the order of detections does not count (tasks/registry.py).
    """

    max_relative_error: float
    top1_agreement: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One shard's place in the chain. `cut` names the cut after it, None for the last stage."""

    index: int
    cut: str | None
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    model_ms: float  # measured with one batch of size `Bundle.batch`
    weight_bytes: int
    output_bytes: int  # of one instance, sent to the next stage
    compiled: tuple[Package, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """bundle.json, parsed.

    `portable_tolerance` is for the portable shards; None means bit-exact, which holds in fp32. `compiled_tolerance` is
    for the compiled shards, None where there are none.
    """

    name: str
    model: str
    weights: str
    precision: str
    torch_version: str
    task: Task
    picture: PictureSpec
    limits: Limits
    batch: int  # largest batch that a stage runs
    max_instances: int  # most pictures in one request: as many as fit `limits.request_bytes` at every cut
    threads: int  # torch threads with which the costs were measured
    stages: tuple[Stage, ...]
    portable_tolerance: Tolerance | None = None
    compiled_tolerance: Tolerance | None = None
    inputs: tuple[InputSpec, ...] = ()  # beside the picture, in the order of stage 0's inputs
    files: Mapping[str, FileDigest] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    @property
    def digest(self) -> str:
        """'sha256:…' of bundle.json's bytes."""
        return digest_of(self.to_json())

    @property
    def has_random_weights(self) -> bool:
        """True if the weights were never trained."""
        return self.weights.startswith(RANDOM_WEIGHTS)

    def reply(self, predictions: Sequence[object]) -> dict[str, object]:
        """The v1 reply with these predictions; random weights stand in its model card, so that nobody trusts them."""
        card = {"model": {"weights": self.weights}} if self.has_random_weights else {}
        return {"predictions": predictions, **card}

    def to_json(self) -> bytes:
        """Serialise to bundle.json's bytes, with sorted keys, so that equal bundles have equal digests."""
        document = asdict(self)
        # an older bundle is written as it was read, so that its digest does not change
        if self.schema_version < 3:
            _without_since_3(document)
        if self.schema_version < 2:
            _without_since_2(document)
        return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


def _without_since_3(document: dict[str, Any]) -> None:
    del document["picture"]["mode"], document["task"]["options"], document["inputs"]


def _without_since_2(document: dict[str, Any]) -> None:
    del document["portable_tolerance"], document["compiled_tolerance"]
    for stage in document["stages"]:
        del stage["compiled"]


def parse_bundle(data: bytes) -> Bundle:
    """Parse and check bundle.json's bytes.

    Raises:
        BundleError: not JSON, another schema version, fields missing, unknown or of the wrong type, values that make no
            sense (files outside the bundle, stages out of order), or bytes that `to_json` would not write.
    """
    document = load_object(data, BUNDLE_FILE)
    version = document.get("schema_version")
    if type(version) is not int or version not in READABLE_VERSIONS:
        raise BundleError(
            f"{BUNDLE_FILE} has schema_version {reprlib.repr(version)}; this Shardline reads "
            f"{', '.join(map(str, READABLE_VERSIONS))}: build the bundle again"
        )
    bundle = typed(Bundle, document, error=_off_schema)
    problems = list(islice(_problems(bundle), 5))
    if problems:
        raise _off_schema("; ".join(problems))
    if bundle.to_json() == data.replace(b"\r\n", b"\n") != data:
        raise BundleError(f"{BUNDLE_FILE} has Windows' line endings, which change its digest: copy it as a binary file")
    if bundle.to_json() != data:  # otherwise the file's digest and `Bundle.digest` would differ
        raise _off_schema("its bytes are not those that its content is written with")
    return bundle


def _off_schema(what: str) -> BundleError:
    return BundleError(f"{BUNDLE_FILE} does not follow its schema ({what}): build the bundle again")


def load_object(data: bytes, name: str) -> dict[str, Any]:
    """Parse the JSON object in one of a bundle's files, called `name`.

    Raises:
        BundleError: too many bytes, not JSON, or not an object.
    """
    if len(data) > BUNDLE_JSON_BYTES:
        raise BundleError(f"{name} has {len(data)} bytes; allowed are {BUNDLE_JSON_BYTES}: build the bundle again")
    return from_json(
        dict, data, error=lambda found: BundleError(f"{name} is not a JSON object ({found}): build the bundle again")
    )


def _problems(bundle: Bundle) -> Iterator[str]:
    """Find values that fit their types and yet make no sense."""
    if not NAME_PATTERN.fullmatch(bundle.name):
        yield f"name is {reprlib.repr(bundle.name)}, not small letters, digits and '-'"
    if bundle.precision not in PRECISIONS:
        yield f"precision is {reprlib.repr(bundle.precision)}, not one of {', '.join(PRECISIONS)}"
    if bundle.precision != "fp32" and bundle.portable_tolerance is None:
        yield f"it has no portable_tolerance, and is in {reprlib.repr(bundle.precision)}"
    if bundle.picture.mode not in CHANNELS:
        yield f"picture.mode is {reprlib.repr(bundle.picture.mode)}, not one of {', '.join(CHANNELS)}"
    if any(stage.compiled for stage in bundle.stages) and bundle.compiled_tolerance is None:
        yield "it has no compiled_tolerance, and compiled packages"
    for tolerance in (bundle.portable_tolerance, bundle.compiled_tolerance):
        if tolerance is not None:
            yield from _tolerance_problems(tolerance)
    for field_name in ("batch", "max_instances", "threads"):
        if getattr(bundle, field_name) < 1:
            yield f"{field_name} is {getattr(bundle, field_name)}, not 1 or more"
    yield from _input_problems(bundle)
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
        if not is_relative_path(path):
            yield f"files has {reprlib.repr(path)}, not a path inside the bundle"
        if not _SHA256.fullmatch(entry.sha256) or entry.size_bytes < 0:
            yield f"files[{reprlib.repr(path)}] has no sha256 and size"


def _input_problems(bundle: Bundle) -> Iterator[str]:
    """Find inputs that requests cannot give, or that stage 0 does not take."""
    taken = bundle.stages[0].inputs[1:] if bundle.stages else ()
    for spec in bundle.inputs:
        if not INPUT_NAME.fullmatch(spec.name) or spec.name in RESERVED_NAMES:
            yield f"inputs has the name {reprlib.repr(spec.name)}, which a request cannot give"
        if spec.dtype not in DTYPE_NAMES.values() or any(dim < 1 for dim in spec.shape):
            yield f"inputs has {reprlib.repr(spec.dtype)} {reprlib.repr(spec.shape)} for {reprlib.repr(spec.name)}"
        if spec.kind == "picture" and (spec.dtype, spec.shape) != ("U8", bundle.picture.shape):
            yield f"inputs has {reprlib.repr(spec.name)}, a picture of another shape than the first"
    wanted = [(spec.name, spec.dtype, ("batch", *spec.shape)) for spec in bundle.inputs]
    if [(spec.name, spec.dtype, spec.shape) for spec in taken] != wanted:
        yield "inputs are not those that stage 0 takes after the pixels"


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


def publishing_order(bundle: Bundle) -> list[list[str]]:
    """Every file of the bundle in the order of publishing: all of one list before any of the next.

    bundle.json comes last, so that a reader who finds it finds everything.
    """
    stages = [stage_folder(stage.index) for stage in bundle.stages]
    files = sorted(bundle.files) + [f"{stage}/{STAGE_FILE}" for stage in stages]
    return [files, [f"{stage}/{BUNDLE_FILE}" for stage in stages], [BUNDLE_FILE]]


def bundle_name(text: str) -> str:
    """Make the name of a bundle, after which Kubernetes objects can be named: 'My_Net' -> 'my-net'.

    Raises:
        BundleError: nothing is left that begins with a letter.
    """
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if not NAME_PATTERN.fullmatch(name):
        raise BundleError(f"{text!r} cannot name Kubernetes objects: begin with a letter, or give --name")
    return name


def digest_of(data: bytes) -> str:
    """'sha256:…' of some bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def stage_folder(index: int) -> str:
    """Folder of a stage inside its bundle: 0 -> 'stages/0'."""
    return f"stages/{index}"
