"""Export a bundle as a Triton model repository: a model per shard, and an ensemble that chains them.

    NAME-0/config.pbtxt, NAME-0/1/model.pt     a shard in TorchScript, for Triton's PyTorch backend; or
    NAME-0/config.pbtxt, NAME-0/1/model.onnx   in ONNX, for its ONNX Runtime backend, where torch.onnx takes the shard
    NAME/config.pbtxt, NAME/1/                 the ensemble; a bundle with one stage has that one model in its place

Triton passes tensors on contiguous, in the order of their dimensions. Where the whole model has a tensor in another
memory order, last digits may differ from the bundle's; the exporter checks each model with contiguous tensors.

The PyTorch backend knows tensors by position: their names end in `__0`, `__1`. The ensemble's own inputs and outputs
have the bundle's names. Names, data types and dims follow Triton's docs/user_guide/model_configuration.md, ensembles
its docs/user_guide/ensemble_models.md.

The configurations are written without tritonclient's own messages: they are registered under the names that KServe's
have, and Python's protobuf takes only one of the two into a process. The tests parse them with tritonclient.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from shardline.formats.onnx_file import MOST_RELATIVE_ERROR, save_onnx
from shardline.formats.parts import ExportPart, read_parts, writing_folder
from shardline.formats.torchscript import load_torchscript, save_torchscript
from shardline.partition.compare import relative_error
from shardline.partition.program import Progress, silent
from shardline.partition.tensors import as_numpy
from shardline.storage.bundle import Bundle, TensorSpec
from shardline.storage.bundle_folder import open_bundle
from shardline.wire.errors import FormatError

Platform = Literal["torchscript", "onnx"]

CONFIG_FILE = "config.pbtxt"
README_FILE = "README.md"
LABELS_FILE = "labels.txt"
_VERSION = "1"
_FILES: Mapping[Platform, str] = {"torchscript": "model.pt", "onnx": "model.onnx"}
_PLATFORMS: Mapping[Platform, str] = {"torchscript": "pytorch_libtorch", "onnx": "onnxruntime_onnx"}
_TYPES = {
    "BOOL": "TYPE_BOOL",
    "U8": "TYPE_UINT8",
    "I8": "TYPE_INT8",
    "I16": "TYPE_INT16",
    "I32": "TYPE_INT32",
    "I64": "TYPE_INT64",
    "F16": "TYPE_FP16",
    "F32": "TYPE_FP32",
    "F64": "TYPE_FP64",
}
_NOT_IN_PYTORCH = frozenset({"F16"})  # Triton's table of data types has no half floats for that backend


@dataclass(frozen=True, slots=True, kw_only=True)
class TritonOptions:
    """Settings of Triton: largest batch, its delay, and the number of copies of a model that run in parallel."""

    platform: Platform = "torchscript"
    batch: int = 8
    delay_us: int = 1000
    instances: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TritonModel:
    """One model of the repository: the error of its outputs, and why it has another platform than requested."""

    name: str
    platform: Platform
    relative_error: float
    reason: str = ""


def export_triton(folder: Path, out: Path, options: TritonOptions, *, progress: Progress = silent) -> list[TritonModel]:
    """Write the repository into `out`, and return the shards' models, first to last.

    Raises:
        BundleError: the bundle cannot be read.
        FormatError: the backend lacks a tensor's dtype, or no form takes a shard.
        FileError: `out` exists already.
    """
    bundle = open_bundle(folder)
    _check_dtypes(bundle, options.platform)
    batched = _can_batch(bundle)
    made = []
    with writing_folder(out) as draft:
        for part in read_parts(folder, whole=False):
            progress(f"{part.name} for Triton")
            model = _save(part, draft / part.name / _VERSION, options.platform)
            made.append(model)
            document = model_config(part, model.platform, options, batched=batched)
            (draft / part.name / CONFIG_FILE).write_text(pbtxt(document))
        if _has_labels(bundle):
            (draft / made[-1].name / LABELS_FILE).write_text("\n".join(bundle.task.labels) + "\n")
        if len(made) > 1:
            (draft / bundle.name / _VERSION).mkdir(parents=True)
            document = ensemble_config(bundle, made, options, batched=batched)
            (draft / bundle.name / CONFIG_FILE).write_text(pbtxt(document))
        (draft / README_FILE).write_text(_readme(bundle, made, batched=batched), encoding="utf-8")
    return made


def _readme(bundle: Bundle, made: Sequence[TritonModel], *, batched: bool) -> str:
    """Instructions beside the models: the commands, and how pixels are prepared."""
    picture, first = bundle.picture, bundle.stages[0].inputs[0]
    resize = f", its shorter side is resized to {picture.resize} pixels first" if picture.resize else ""
    shape = [size if isinstance(size, int) else "batch" for size in first.shape]
    entry = bundle.name if len(made) > 1 else made[0].name
    input_name = first.name if len(made) > 1 else _name(first, 0, made[0].platform)
    lines = [f"- `{model.name}`: {model.platform}, off by {model.relative_error:.1e} at most" for model in made]
    models = "\n".join(lines)
    batching = "Triton batches requests." if batched else "Triton does not batch requests: a tensor has no batch."
    return f"""# {bundle.name} for Triton

Written by `shardline export triton` from {bundle.model}.

{models}

Serve the repository, and ask `{entry}`:

```sh
tritonserver --model-repository="$PWD"
curl http://localhost:8000/v2/models/{entry}/ready
```

The input `{input_name}` is {first.dtype} {shape}, in the order batch, channels, height, width: pixels from 0 to 255,
{picture.mode}, not normalised, since the model does that. A picture is turned upright by its EXIF orientation,
transparency becomes white, and it is fitted to {picture.height} x {picture.width} pixels by `{picture.fit}`{resize}
(`{picture.interpolation}`).

The outputs are the model's own ({", ".join(f"`{spec.name}`" for spec in bundle.stages[-1].outputs)}); the task
`{bundle.task.name}`, which makes a reply of them, is not part of the export. {batching}
"""


def model_config(part: ExportPart, platform: Platform, options: TritonOptions, *, batched: bool) -> dict[str, Any]:
    """Content of one shard's config.pbtxt, as plain values."""
    outputs = _tensors(part.stage.outputs, platform, batched=batched)
    last = part.stage.index == len(part.bundle.stages) - 1
    if last and _has_labels(part.bundle):
        logits = next(place for place, spec in enumerate(part.stage.outputs) if len(spec.shape) == 2)
        outputs[logits]["label_filename"] = LABELS_FILE
    scheduler = {"dynamic_batching": {"max_queue_delay_microseconds": options.delay_us}} if batched else {}
    return {
        "name": part.name,
        "platform": _PLATFORMS[platform],
        "max_batch_size": options.batch if batched else 0,
        "input": _tensors(part.stage.inputs, platform, batched=batched),
        "output": outputs,
        **scheduler,
        "instance_group": [{"count": options.instances, "kind": PbEnum("KIND_CPU")}],
    }


def ensemble_config(
    bundle: Bundle, made: Sequence[TritonModel], options: TritonOptions, *, batched: bool
) -> dict[str, Any]:
    """Content of the ensemble's config.pbtxt: the outputs of a shard are mapped to the inputs of the next."""
    first, last = bundle.stages[0], bundle.stages[-1]
    steps = [
        {
            "model_name": model.name,
            "model_version": -1,
            "input_map": _map(stage.inputs, model.platform, "" if stage is first else f"_into_{stage.index}"),
            "output_map": _map(stage.outputs, model.platform, "" if stage is last else f"_into_{stage.index + 1}"),
        }
        for model, stage in zip(made, bundle.stages, strict=True)
    ]
    return {
        "name": bundle.name,
        "platform": "ensemble",
        "max_batch_size": options.batch if batched else 0,
        "input": _tensors(first.inputs, "onnx", batched=batched),
        "output": _tensors(last.outputs, "onnx", batched=batched),
        "ensemble_scheduling": {"step": steps},
    }


def _map(specs: Sequence[TensorSpec], platform: Platform, cut: str) -> list[dict[str, str]]:
    """Map a model's names to the ensemble's, in which a tensor that passes through a shard gets a new name."""
    return [{"key": _name(spec, place, platform), "value": f"{spec.name}{cut}"} for place, spec in enumerate(specs)]


def _name(spec: TensorSpec, place: int, platform: Platform) -> str:
    return f"{spec.name}__{place}" if platform == "torchscript" else spec.name


def _tensors(specs: Sequence[TensorSpec], platform: Platform, *, batched: bool) -> list[dict[str, Any]]:
    return [
        {"name": _name(spec, place, platform), "data_type": PbEnum(_TYPES[spec.dtype]), **_dims(spec, batched=batched)}
        for place, spec in enumerate(specs)
    ]


def _dims(spec: TensorSpec, *, batched: bool) -> dict[str, Any]:
    """Dimensions without the batch where Triton batches, else with -1 where a dimension depends on the batch."""
    dims = [-1 if isinstance(dim, str) else dim for dim in spec.shape][batched:]
    return {"dims": dims} if dims else {"dims": [1], "reshape": {"shape": []}}


def _has_labels(bundle: Bundle) -> bool:
    """True where Triton's classification extension has class names to report."""
    return bundle.task.name == "classify" and bool(bundle.task.labels)


def _can_batch(bundle: Bundle) -> bool:
    """True where Triton can batch: the first dimension of every tensor, and no other, is the batch.

    An ensemble that batches takes no model that does not, so a single other tensor rules batching out.
    """
    specs = [spec for stage in bundle.stages for spec in stage.inputs + stage.outputs]
    return all(spec.shape[:1] == ("batch",) and all(isinstance(dim, int) for dim in spec.shape[1:]) for spec in specs)


def _check_dtypes(bundle: Bundle, platform: Platform) -> None:
    missing = _NOT_IN_PYTORCH if platform == "torchscript" else frozenset()
    for stage in bundle.stages:
        for spec in stage.inputs + stage.outputs:
            if spec.dtype not in _TYPES or spec.dtype in missing:
                raise FormatError(
                    f"{spec.name} of stage {stage.index} is {spec.dtype}, which Triton's backend for {platform} does "
                    "not take: build the bundle in fp32 (fp16 with --platform onnx)"
                )


def _save(part: ExportPart, folder: Path, platform: Platform) -> TritonModel:
    """Save a shard for the requested platform, or else as TorchScript."""
    folder.mkdir(parents=True)
    reason = ""
    if platform == "onnx":
        try:
            error = save_onnx(part, folder / _FILES["onnx"])
            return TritonModel(name=part.name, platform="onnx", relative_error=error)
        except FormatError as exc:
            if any(spec.dtype in _NOT_IN_PYTORCH for spec in part.stage.inputs + part.stage.outputs):
                raise
            reason = str(exc)
    path = folder / _FILES["torchscript"]
    save_torchscript(part, path)
    return TritonModel(
        name=part.name, platform="torchscript", relative_error=_error_of_contiguous(part, path), reason=reason
    )


def _error_of_contiguous(part: ExportPart, path: Path) -> float:
    """Largest relative error of the outputs for contiguous inputs, as Triton passes them."""
    script = load_torchscript(path)
    errors = [0.0]
    for inputs, expected in part.examples.values():
        with torch.inference_mode():
            found = script(*(value.contiguous() for value in inputs))
        pairs = zip(found, expected, strict=True)
        errors += [relative_error(as_numpy(value), as_numpy(reference)) for value, reference in pairs]
    allowed = MOST_RELATIVE_ERROR["fp32"]
    if not max(errors) <= allowed:
        raise FormatError(
            f"{part.name} with contiguous inputs is off by {max(errors):.3g} of the largest value; allowed: {allowed:g}"
        )
    return max(errors)


class PbEnum(str):
    """Enum value, which is written without quotes: TYPE_FP32."""


def pbtxt(message: Mapping[str, Any]) -> str:
    """Write a message in protobuf's text format: numbers, texts, `PbEnum`s, mappings for messages, lists of these."""
    return "".join(f"{line}\n" for line in _fields(message))


def _fields(message: Mapping[str, Any]) -> Iterator[str]:
    for name, value in message.items():
        if isinstance(value, list) and value and all(isinstance(item, int) for item in value):
            yield f"{name}: [{', '.join(map(str, value))}]"
            continue
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, Mapping):
                yield f"{name} {{"
                yield from (f"  {line}" for line in _fields(item))
                yield "}"
            else:
                yield f"{name}: {_scalar(item)}"


def _scalar(value: object) -> str:
    if isinstance(value, PbEnum) or not isinstance(value, str):
        return str(value).lower() if isinstance(value, bool) else str(value)
    return json.dumps(value)  # JSON's escapes are among C's, which the format has
