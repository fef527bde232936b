"""A part as ONNX, proved in onnxruntime.

onnxruntime has other kernels than torch, which add in another order: outputs are not equal to the bit. They may be off
by what a bundle allows compiled shards at least, relative to an output's largest value.
"""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shardline.formats.parts import TRACED_BATCH, Part
from shardline.partition.compare import relative_error
from shardline.partition.program import one_line
from shardline.partition.tensors import as_numpy
from shardline.wire.errors import FormatError

MOST_RELATIVE_ERROR = {"fp32": 1e-4, "fp16": 1e-2}


def save_onnx(part: Part, path: Path) -> float:
    """Save the part with the names of its specs, dynamic in the batch; -> the largest relative error that was seen.

    Raises:
        FormatError: torch.onnx does not take it, onnxruntime does not run it at another batch, its outputs are too far
            off, or one of both is not installed.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  what torch.onnx exports with
    except ImportError as exc:
        raise FormatError(f"{exc.name} is not installed: pip install 'shardline[export]'") from exc
    inputs, _ = part.examples[TRACED_BATCH]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.onnx warns about its own internals
            made = torch.onnx.export(
                part.program,
                inputs,
                input_names=[spec.name for spec in part.stage.inputs],
                output_names=[spec.name for spec in part.stage.outputs],
                dynamo=True,
                verbose=False,
            )
            assert made is not None
            made.save(str(path), external_data=False)
        session = onnxruntime.InferenceSession(str(path), _options(onnxruntime), providers=["CPUExecutionProvider"])
        errors = list(_errors(session, part))
    except Exception as exc:  # an exporter of many passes, a parser and a runtime raise whatever they like
        path.unlink(missing_ok=True)
        raise FormatError(f"{part.name} as ONNX: {one_line(exc)}") from exc
    worst, allowed = max(errors), MOST_RELATIVE_ERROR[part.bundle.precision]
    if not worst <= allowed:
        path.unlink()
        raise FormatError(f"{part.name} as ONNX is off by {worst:.3g} of the largest value; allowed is {allowed:g}")
    return worst


def _options(onnxruntime: Any) -> Any:
    """As many threads as torch has, and of its log errors alone."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    return options


def _errors(session: Any, part: Part) -> Iterator[float]:
    """At each batch size, of each output."""
    for inputs, expected in part.examples.values():
        given = {spec.name: _packed(value) for spec, value in zip(part.stage.inputs, inputs, strict=True)}
        found = session.run([spec.name for spec in part.stage.outputs], given)
        for one, other in zip(found, expected, strict=True):
            yield relative_error(one, _packed(other))


def _packed(value: torch.Tensor) -> np.ndarray:
    """In the order of its dimensions, as every other server has tensors."""
    return as_numpy(value.contiguous())
