"""The same model in two bytes a number: bf16 or fp16 weights and activations, fp32 at both ends.

Pixels are normalised in fp32 and then rounded; the outputs are widened to fp32 again, so that the task sees what it
always sees. The bundle's whole stays in fp32: it says what rounding has cost.
"""

import copy
from dataclasses import replace

import torch

from shardline.partition.capture import Pixels, random_pixels, run_whole
from shardline.partition.models import Model
from shardline.partition.program import one_line
from shardline.wire.errors import ModelError

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class _Rounded(Pixels):
    """`uint8 [batch, 3, height, width]` -> what the model, its weights rounded to `dtype`, makes of the pixels."""

    def __init__(self, model: Model, dtype: torch.dtype) -> None:
        super().__init__(copy.deepcopy(model.module).to(dtype), model.mean, model.std)
        self._dtype = dtype

    def forward(self, pixels: torch.Tensor) -> tuple[object, ...]:
        return tuple(_widened(value) for value in self.outputs(self.normalised(pixels).to(self._dtype)))


def _widened(value: object) -> object:
    return value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value


def in_precision(model: Model, precision: str) -> Model:
    """The model as it computes in this precision, and takes pixels; in fp32 the model itself, untouched.

    Raises:
        ModelError: an unknown precision, or a model that needs fp32: an exported program that normalises by itself, or
            one that names the dtype in its code.
    """
    if precision == "fp32":
        return model
    if precision not in _DTYPES:
        raise ModelError(f"--precision {precision!r}: allowed are fp32, {', '.join(_DTYPES)}")
    if model.takes_pixels:
        raise ModelError(
            f"{model.reference} normalises its pixels by itself, in fp32: give a model that takes normalised "
            f"float32 pictures, or build without --precision {precision}"
        )
    rounded = _Rounded(model, _DTYPES[precision])
    try:
        run_whole(rounded, random_pixels(model, 1))
    except Exception as exc:  # whatever the user's own forward raises comes through here
        raise ModelError(
            f"{model.reference} does not run in {precision}: {one_line(exc)}; build it in fp32, or let its forward "
            "follow the dtype of its input"
        ) from exc
    return replace(model, module=rounded, takes_pixels=True)
