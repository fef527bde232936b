"""Export a part as ONNX, and compare it in onnxruntime.

onnxruntime has other kernels than torch, which add in another order, so outputs are not equal to the bit. Their error,
relative to an output's largest value, is bounded by the least tolerance of compiled shards.
"""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shardline.formats.parts import TRACED_BATCH, ExportPart
from shardline.partition.compare import relative_error
from shardline.partition.program import one_line
from shardline.partition.tensors import as_numpy
from shardline.wire.errors import FormatError, MissingPackageError

MOST_RELATIVE_ERROR = {"fp32": 1e-4, "fp16": 1e-2}


def save_onnx(part: ExportPart, path: Path) -> float:
    """Save the part with the names of its specs, dynamic in the batch, and return its largest relative error.

    Raises:
        FormatError: torch.onnx does not take it, onnxruntime does not run it at another batch, or its outputs are too
            far off.
        MissingPackageError: onnxruntime or onnxscript is not installed.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  torch.onnx needs it
    except ImportError as exc:
        raise MissingPackageError(f"{exc.name} is not installed: pip install 'shardline[export]'") from exc
    inputs, _ = part.examples[TRACED_BATCH]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.onnx warns about its own internals
            onnx_program = torch.onnx.export(
                part.program,
                inputs,
                input_names=[spec.name for spec in part.stage.inputs],
                output_names=[spec.name for spec in part.stage.outputs],
                dynamo=True,
                verbose=False,
            )
            assert onnx_program is not None
            onnx_program.save(str(path), external_data=False)
        session = onnxruntime.InferenceSession(str(path), _options(onnxruntime), providers=["CPUExecutionProvider"])
        errors = list(_errors(session, part))
    except OSError:  # a full disk: the next format would not fit either
        path.unlink(missing_ok=True)
        raise
    except Exception as exc:  # an exporter of many passes, a parser and a runtime raise whatever they like
        path.unlink(missing_ok=True)
        raise FormatError(f"{part.name} as ONNX: {one_line(exc)}") from exc
    worst, allowed = max(errors), MOST_RELATIVE_ERROR[part.bundle.precision]
    if not worst <= allowed:
        path.unlink()
        raise FormatError(f"{part.name} as ONNX is off by {worst:.3g} of the largest value; allowed is {allowed:g}")
    return worst


def _options(onnxruntime: Any) -> Any:
    """Options of a session: torch's number of threads, and no log but errors."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    return options


def _errors(session: Any, part: ExportPart) -> Iterator[float]:
    """Yield the relative error of each output at each batch size."""
    for inputs, expected in part.examples.values():
        given = {spec.name: _contiguous(value) for spec, value in zip(part.stage.inputs, inputs, strict=True)}
        found = session.run([spec.name for spec in part.stage.outputs], given)
        for value, reference in zip(found, expected, strict=True):
            yield relative_error(value, _contiguous(reference))


def _contiguous(value: torch.Tensor) -> np.ndarray:
    """Array of the tensor's shape and dtype in the order of its dimensions, as other servers have tensors."""
    return as_numpy(value.contiguous())
