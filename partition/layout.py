"""How a tensor lies in memory, kept across the wire.

A kernel may add in another order when its input has other strides, and then the last digits differ. So each tensor that
crosses a cut comes to the next shard with the strides that it has inside the whole: a frame carries it packed, in the
order of memory, and the receiver lays it out again, with the holes of a slice and the repeats of an expanded tensor.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np
import torch

from shardline.partition.program import DTYPES
from shardline.storage.bundle import TensorSpec
from shardline.wire.frame import named_dtype

_DTYPES = {name: dtype for dtype, name in DTYPES.items()}


def dim_order(tensor: torch.Tensor) -> tuple[int, ...]:
    """The dimensions from the outermost to the innermost in memory; its own order where some overlap."""
    strides = tensor.stride()
    order = tuple(sorted(range(tensor.dim()), key=lambda dim: (-strides[dim], dim)))
    return tuple(range(tensor.dim())) if _overlaps(tensor, order) else order


def is_dense(tensor: torch.Tensor) -> bool:
    """Does the tensor fill its memory without holes or repeats?"""
    return tensor.permute(dim_order(tensor)).is_contiguous()


def strides_by_batch(two: torch.Tensor, three: torch.Tensor) -> tuple[int | str, ...] | None:
    """The strides, as numbers or multiples of the batch, of a tensor seen at batches 2 and 3.

    None for a dense tensor, whose strides follow from its order, and for one whose layout cannot be kept: its elements
    overlap, or its strides are neither the same nor in proportion.
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
    """Do different elements share memory, other than by a dimension that only repeats (stride 0)?"""
    inner = 0
    for dim in reversed(order):
        if tensor.shape[dim] > 1 and tensor.stride(dim) > 0:
            if tensor.stride(dim) <= inner:
                return True
            inner += (tensor.shape[dim] - 1) * tensor.stride(dim)
    return False


def to_torch(value: np.ndarray, spec: TensorSpec) -> torch.Tensor:
    """A frame's array -> a tensor with the strides that the whole model's has, in memory of torch's own.

    It is copied: kernels may round differently on unaligned memory, and a frame lies wherever the network left it.
    """
    return join([value], spec)


def join(values: Sequence[np.ndarray], spec: TensorSpec, axis: int = 0, *, pinned: bool = False) -> torch.Tensor:
    """The arrays of several frames, one behind the other along `axis`, -> one tensor as `to_torch` makes it.

    Each is copied once, to its place: joining costs no more than not joining. An array may have no axis if it is alone.
    `pinned` memory is what a GPU fetches by itself.
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
        tensor = torch.empty_strided([shape[place] for place in back], strides, dtype=dtype, pin_memory=pinned)
    once = tuple(slice(1) if strides[dim] == 0 else slice(None) for dim in spec.dim_order)
    packed = as_numpy(tensor.permute(spec.dim_order)[once])
    for value, place in zip(values, _places(values, axis), strict=True):
        packed[place] = value[once]
    return tensor


def _places(values: Sequence[np.ndarray], axis: int) -> list[tuple[slice, ...]]:
    """Where each array lies in all of them joined along `axis`."""
    if len(values) == 1:
        return [()]
    ends = accumulate((value.shape[axis] for value in values), initial=0)
    return [along(axis, start, stop) for start, stop in pairwise(ends)]


def along(axis: int, start: int, stop: int) -> tuple[slice, ...]:
    """The index of what lies from `start` to `stop` along one axis, and of all along the axes before and behind it."""
    return (slice(None),) * axis + (slice(start, stop),)


def to_numpy(value: torch.Tensor, spec: TensorSpec) -> np.ndarray:
    """A tensor, on any device -> the array that a frame carries: dimensions in the order of memory, packed."""
    return as_numpy(value.permute(spec.dim_order).contiguous().cpu())


def as_numpy(tensor: torch.Tensor) -> np.ndarray:
    """The same memory as an array; torch's numpy() does not know bfloat16."""
    if tensor.dtype is torch.bfloat16:
        return tensor.view(torch.uint16).numpy().view(named_dtype("BF16"))
    return tensor.numpy()


def as_torch(array: np.ndarray) -> torch.Tensor:
    """The same memory as a tensor, which must be writable."""
    if array.dtype == named_dtype("BF16"):
        return torch.from_numpy(array.view(np.uint16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def batch_of(value: np.ndarray, spec: TensorSpec) -> int:
    """The batch size as a frame's array shows it; 1 where its shape does not depend on it, or does not fit."""
    if value.ndim != len(spec.shape):
        return 1
    ones = spec.shape_for(1)
    sizes = [(int(size), ones[dim]) for size, dim in zip(value.shape, spec.dim_order, strict=True)
             if isinstance(spec.shape[dim], str)]  # fmt: skip
    return next((size // multiple for size, multiple in sizes if size >= multiple > 0), 1)
