"""Tensors of a stage: their layout in memory, kept across the wire, and checks against the stage's specs.

A kernel may add in another order when its input has other strides, and then the last digits differ. So each tensor that
crosses a cut reaches the next shard with the strides that it has inside the whole: a frame carries it packed, in the
order of memory, and the receiver lays it out again, with the holes of a slice and the repeats of an expanded tensor.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch

from shardline.partition.program import DTYPES
from shardline.wire.errors import FrameError
from shardline.wire.frame import dtype_name, is_float, named_dtype

if TYPE_CHECKING:
    from shardline.storage.bundle import TensorSpec

_DTYPES = {name: dtype for dtype, name in DTYPES.items()}


def dim_order(tensor: torch.Tensor) -> tuple[int, ...]:
    """Order of a tensor's dimensions in memory, outermost first; their own order where elements overlap.

    The tensor may have any shape and dtype: float32 [2, 64, 56, 56] in channels-last memory gives (0, 2, 3, 1).
    """
    strides = tensor.stride()
    order = tuple(sorted(range(tensor.dim()), key=lambda dim: (-strides[dim], dim)))
    return tuple(range(tensor.dim())) if _overlaps(tensor, order) else order


def is_dense(tensor: torch.Tensor) -> bool:
    """True for a tensor, of any shape and dtype, that fills its memory without holes or repeats."""
    return tensor.permute(dim_order(tensor)).is_contiguous()


def strides_by_batch(two: torch.Tensor, three: torch.Tensor) -> tuple[int | str, ...] | None:
    """Strides as numbers or multiples of the batch, from the same tensor at batch 2 and at batch 3.

    The tensors have the shape of one node, [batch or N * batch, …], in any dtype. The result is None for a dense
    tensor, whose strides follow from its order, and for a layout that cannot be kept: elements overlap, or the strides
    are neither equal nor in proportion to the batch.
    """
    if is_dense(two) or _overlaps(two, dim_order(two)):
        return None
    strides: list[int | str] = []
    for at_two, at_three in zip(two.stride(), three.stride(), strict=True):
        if at_two == at_three:
            strides.append(at_two)
        elif at_two * 3 == at_three * 2:
            strides.append(f"{at_two // 2}*batch")
        else:
            return None
    return tuple(strides)


def _overlaps(tensor: torch.Tensor, order: Sequence[int]) -> bool:
    """True where different elements share memory, other than by a dimension that only repeats (stride 0)."""
    inner = 0
    for dim in reversed(order):
        if tensor.shape[dim] > 1 and tensor.stride(dim) > 0:
            if tensor.stride(dim) <= inner:
                return True
            inner += (tensor.shape[dim] - 1) * tensor.stride(dim)
    return False


def to_torch(value: np.ndarray, spec: "TensorSpec") -> torch.Tensor:
    """Turn a frame's array into a tensor with the strides that the whole model has there.

    The array is [batch, …] with the spec's dimensions in memory order (`TensorSpec.frame_shape_for`), the tensor has
    them in their own order; both have the spec's dtype. It is copied into memory of torch's own: kernels may round
    differently on unaligned memory, and a frame lies wherever the network left it.
    """
    return join([value], spec)


def join(values: Sequence[np.ndarray], spec: "TensorSpec", axis: int = 0, *, pinned: bool = False) -> torch.Tensor:
    """Concatenate the arrays of several frames along `axis` into one tensor, as `to_torch` does for a single array.

    The arrays are [batch, …] with the spec's dtype and dimensions in memory order, each for a batch of its own; the
    tensor has the spec's shape for all of them. Each array is copied once, to its position, so joining costs no more
    than not joining. A single array needs no axis. A GPU copies from `pinned` memory by itself.
    """
    shape = list(values[0].shape)
    if len(values) > 1:
        shape[axis] = sum(value.shape[axis] for value in values)
    strides = spec.strides_for(sum(batch_of(value, spec) for value in values))
    dtype = _DTYPES[spec.dtype]
    back = tuple(spec.dim_order.index(dim) for dim in range(len(spec.dim_order)))
    if strides is None:
        strides = (1,) * len(shape)
        tensor = torch.empty(shape, dtype=dtype, pin_memory=pinned).permute(back)
    else:
        tensor = torch.empty_strided([shape[position] for position in back], strides, dtype=dtype, pin_memory=pinned)
    once = tuple(slice(1) if strides[dim] == 0 else slice(None) for dim in spec.dim_order)
    packed = as_numpy(tensor.permute(spec.dim_order)[once])
    for value, position in zip(values, _positions(values, axis), strict=True):
        packed[position] = value[once]
    return tensor


def _positions(values: Sequence[np.ndarray], axis: int) -> list[tuple[slice, ...]]:
    """Slices of each array in the concatenation along `axis`."""
    if len(values) == 1:
        return [()]
    ends = accumulate((value.shape[axis] for value in values), initial=0)
    return [along(axis, start, stop) for start, stop in pairwise(ends)]


def along(axis: int, start: int, stop: int) -> tuple[slice, ...]:
    """Index from `start` to `stop` along one axis, and everything along the other axes."""
    return (slice(None),) * axis + (slice(start, stop),)


def to_numpy(value: torch.Tensor, spec: "TensorSpec") -> np.ndarray:
    """Turn a tensor [batch, …] of the spec's dtype, on any device, into a frame's array: memory order, contiguous."""
    return as_numpy(value.permute(spec.dim_order).contiguous().cpu())


def as_numpy(tensor: torch.Tensor) -> np.ndarray:
    """View a CPU tensor of any shape as an array of the same dtype; torch's numpy() does not know bfloat16."""
    if tensor.dtype is torch.bfloat16:
        return tensor.view(torch.uint16).numpy().view(named_dtype("BF16"))
    return tensor.numpy()


def as_torch(array: np.ndarray) -> torch.Tensor:
    """View a writable array of any shape as a tensor of the same dtype, in the same memory."""
    if array.dtype == named_dtype("BF16"):
        return torch.from_numpy(array.view(np.uint16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def batch_of(value: np.ndarray, spec: "TensorSpec") -> int:
    """Batch size of a frame's array, [batch, …]; 1 where the spec's shape does not depend on it, or does not fit."""
    if value.ndim != len(spec.shape):
        return 1
    ones = spec.shape_for(1)
    sizes = [(int(size), ones[dim]) for size, dim in zip(value.shape, spec.dim_order, strict=True)
             if isinstance(spec.shape[dim], str)]  # fmt: skip
    return next((size // multiple for size, multiple in sizes if size >= multiple > 0), 1)


def check_tensors(tensors: Mapping[str, np.ndarray], specs: "tuple[TensorSpec, ...]") -> None:
    """Compare a frame's tensors, [batch, …] each, with a stage's specs: names, dtypes, shapes in memory order, no NaN.

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


def instance_axes(specs: "Sequence[TensorSpec]") -> dict[str, int] | None:
    """Batch axis of each tensor's array in a frame, by the tensor's name.

    None where a tensor has no such axis: N * batch windows of a window attention cannot be assigned to instances.
    """
    axes = {}
    for spec in specs:
        dynamic = [axis for axis, dim in enumerate(spec.dim_order) if isinstance(spec.shape[dim], str)]
        if len(dynamic) != 1 or spec.shape[spec.dim_order[dynamic[0]]] != "batch":
            return None
        axes[spec.name] = dynamic[0]
    return axes


def repeats(spec: "TensorSpec") -> bool:
    """True for a tensor with one value for all instances of a frame; two frames' values would share one position."""
    return spec.strides is not None and any(
        stride == 0 and isinstance(size, str) for size, stride in zip(spec.shape, spec.strides, strict=True)
    )


def instances(tensors: Mapping[str, np.ndarray], specs: "tuple[TensorSpec, ...]") -> int:
    """Batch size of a frame's tensors, [batch, …] each; 1 where no shape in `specs` depends on it."""
    batches = (batch_of(tensors[spec.name], spec) for spec in specs if spec.name in tensors)
    return next((batch for batch in batches if batch > 1), 1)


def _differences(value: np.ndarray, spec: "TensorSpec", batch: int) -> list[str]:
    shape = spec.frame_shape_for(batch)
    if dtype_name(value.dtype) != spec.dtype:
        return [f"{spec.name} has dtype {dtype_name(value.dtype)}, allowed is {spec.dtype}"]
    if value.shape != shape:
        return [f"{spec.name} has shape {list(value.shape)}, allowed is {list(shape)}"]
    if is_float(value.dtype) and np.isnan(value).any():
        return [f"{spec.name} holds NaN"]
    return []
