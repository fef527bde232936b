"""A frame's tensors against what a stage says of them: what must be there, and which axis tells instances apart."""

from collections.abc import Mapping, Sequence

import numpy as np

from shardline.partition.layout import batch_of
from shardline.storage.bundle import TensorSpec
from shardline.wire.errors import FrameError
from shardline.wire.frame import dtype_name, is_float


def check_tensors(tensors: Mapping[str, np.ndarray], specs: tuple[TensorSpec, ...]) -> None:
    """Check a frame's tensors against a stage's specs.

    Raises:
        FrameError: listing every difference.
    """
    expected = {spec.name for spec in specs}
    differences = [f"{name} is missing" for name in sorted(expected - tensors.keys())]
    differences += [f"{name} is unknown" for name in sorted(tensors.keys() - expected)]
    batch = instances(tensors, specs)
    for spec in specs:
        if spec.name in tensors:
            differences += _differences(tensors[spec.name], spec, batch)
    if differences:
        raise FrameError(f"the frame does not fit this stage: {'; '.join(differences)}")


def instance_axes(specs: Sequence[TensorSpec]) -> dict[str, int] | None:
    """Along which axis of its array in a frame each tensor holds its instances, one an index.

    None where a tensor has no such axis: the windows of a window attention, N * batch of them, cannot be told apart.
    """
    axes = {}
    for spec in specs:
        dynamic = [axis for axis, dim in enumerate(spec.dim_order) if isinstance(spec.shape[dim], str)]
        if len(dynamic) != 1 or spec.shape[spec.dim_order[dynamic[0]]] != "batch":
            return None
        axes[spec.name] = dynamic[0]
    return axes


def repeats(spec: TensorSpec) -> bool:
    """Is there one value for all instances, however many a frame holds? Two frames' would meet in one place."""
    return spec.strides is not None and any(
        stride == 0 and isinstance(size, str) for size, stride in zip(spec.shape, spec.strides, strict=True)
    )


def instances(tensors: Mapping[str, np.ndarray], specs: tuple[TensorSpec, ...]) -> int:
    """The batch size as the first tensor of the frame shows it; 1 where none can show it."""
    batches = (batch_of(tensors[spec.name], spec) for spec in specs if spec.name in tensors)
    return next((batch for batch in batches if batch > 1), 1)


def _differences(value: np.ndarray, spec: TensorSpec, batch: int) -> list[str]:
    shape = spec.frame_shape_for(batch)
    if dtype_name(value.dtype) != spec.dtype:
        return [f"{spec.name} has dtype {dtype_name(value.dtype)}, allowed is {spec.dtype}"]
    if value.shape != shape:
        return [f"{spec.name} has shape {list(value.shape)}, allowed is {list(shape)}"]
    if is_float(value.dtype) and np.isnan(value).any():
        return [f"{spec.name} holds NaN"]
    return []
