"""A tensor comes through a frame with the strides that it had."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shardline.partition.program import DTYPES, safetensors_dtype
from shardline.partition.tensors import (
    as_numpy,
    as_torch,
    check_tensors,
    dim_order,
    instance_axes,
    is_dense,
    join,
    strides_by_batch,
    to_numpy,
    to_torch,
)
from shardline.storage.bundle import TensorSpec
from shardline.wire.errors import FrameError
from shardline.wire.frame import dtype_name

LAYOUTS = {
    "plain": lambda base: base,
    "channels last": lambda base: base.permute(0, 3, 1, 2),
    "batch inside": lambda base: base.permute(1, 0, 2, 3).contiguous().permute(1, 0, 2, 3),
    "a slice": lambda base: base[:, 1:, ::2],
    "a column": lambda base: base[:, :, 0],
    "a slice turned": lambda base: base[:, 1:, :, ::3].permute(0, 3, 2, 1),
    "expanded": lambda base: base[:, :1].expand(-1, 5, -1, -1),
    "expanded and cut": lambda base: base[:, 1:2, ::2].expand(-1, 3, -1, -1),
    "a slice with the batch inside": lambda base: base.permute(1, 0, 2, 3).contiguous()[:, :, 1:].permute(1, 0, 2, 3),
}


def base(batch: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.arange(batch * 4 * 6 * 9).to(dtype).reshape(batch, 4, 6, 9)


def spec_of(layout: str, dtype: torch.dtype = torch.float32) -> TensorSpec:
    two, three = LAYOUTS[layout](base(2, dtype)), LAYOUTS[layout](base(3, dtype))
    return TensorSpec(
        name="x",
        dtype=safetensors_dtype(two.dtype),
        shape=("batch", *two.shape[1:]),
        dim_order=dim_order(two),
        strides=strides_by_batch(two, three),
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@given(batch=st.integers(2, 5), dtype=st.sampled_from(sorted(DTYPES, key=str)))
def test_values_and_strides_come_back(layout: str, batch: int, dtype: torch.dtype) -> None:
    spec = spec_of(layout, dtype)
    tensor = LAYOUTS[layout](base(batch, dtype))
    carried = to_numpy(tensor, spec)
    found = to_torch(carried, spec)

    assert carried.flags.c_contiguous
    assert carried.shape == spec.frame_shape_for(batch)
    assert dtype_name(carried.dtype) == spec.dtype
    assert torch.equal(found, tensor)
    assert found.stride() == tensor.stride()


@pytest.mark.parametrize("layout", LAYOUTS)
@given(batches=st.lists(st.integers(2, 4), min_size=2, max_size=4))
def test_joined_arrays_are_what_the_model_would_see_of_all_at_once(layout: str, batches: list[int]) -> None:
    spec = spec_of(layout)
    if spec.strides is not None and spec.strides[0] == 0:
        return  # one value for all instances: what each frame says of it would meet in one place
    tensor = LAYOUTS[layout](base(sum(batches)))
    axis = spec.dim_order.index(0)

    found = join([to_numpy(part, spec) for part in tensor.split(batches)], spec, axis)

    assert torch.equal(found, tensor)
    assert found.stride() == tensor.stride()


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_and_tensors_share_their_memory(dtype: torch.dtype) -> None:
    tensor = base(2, dtype)
    back = as_torch(as_numpy(tensor))

    assert back.dtype is dtype
    assert back.data_ptr() == tensor.data_ptr()
    assert torch.equal(back, tensor)


def test_only_a_layout_with_holes_or_repeats_lists_its_strides() -> None:
    listed = {layout: spec_of(layout).strides for layout in LAYOUTS}

    assert {layout for layout, strides in listed.items() if strides is None} == {
        "plain",
        "channels last",
        "batch inside",
    }
    assert listed["expanded"] == (216, 0, 9, 1)
    assert listed["a slice with the batch inside"] == (54, "54*batch", 9, 1)


def test_overlapping_elements_are_packed() -> None:
    windows = torch.arange(12.0).reshape(2, 6).as_strided((2, 3, 4), (6, 1, 1))

    assert not is_dense(windows)
    assert dim_order(windows) == (0, 1, 2)
    assert strides_by_batch(windows, windows) is None


@given(st.permutations(range(4)), st.lists(st.integers(1, 3), min_size=4, max_size=4))
def test_any_permuted_tensor_is_dense_in_its_own_order(order: list[int], shape: list[int]) -> None:
    tensor = torch.zeros(shape).permute(tuple(order))

    assert is_dense(tensor)
    assert tensor.permute(dim_order(tensor)).is_contiguous()


def test_a_frame_is_parted_along_its_instances_wherever_they_lie() -> None:
    turned = TensorSpec(name="a", dtype="F32", shape=("batch", 2, 3), dim_order=(1, 0, 2))
    windows = TensorSpec(name="b", dtype="F32", shape=("4*batch", 5), dim_order=(0, 1))

    assert instance_axes((turned,)) == {"a": 1}
    assert instance_axes((turned, windows)) is None


SPECS = (
    TensorSpec(name="a", dtype="F32", shape=("batch", 2, 3), dim_order=(0, 2, 1)),
    TensorSpec(name="b", dtype="F32", shape=("4*batch", 5), dim_order=(0, 1)),
    TensorSpec(name="c", dtype="U8", shape=("batch",), dim_order=(0,)),
)


def fitting(batch: int) -> dict[str, np.ndarray]:
    return {
        "a": np.zeros((batch, 3, 2), np.float32),
        "b": np.zeros((4 * batch, 5), np.float32),
        "c": np.zeros(batch, np.uint8),
    }


def complaint(tensors: dict[str, np.ndarray]) -> str:
    with pytest.raises(FrameError) as caught:
        check_tensors(tensors, SPECS)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_tensors_that_fit_pass(batch: int) -> None:
    check_tensors(fitting(batch), SPECS)


def test_every_difference_is_told_at_once() -> None:
    tensors = fitting(2)
    tensors["a"] = tensors["a"].astype(np.float64)
    tensors["b"] = tensors["b"][:7]
    tensors["d"] = tensors.pop("c")

    line = complaint(tensors)

    assert "c is missing" in line
    assert "d is unknown" in line
    assert "a has dtype F64, allowed is F32" in line
    assert "b has shape [7, 5], allowed is [8, 5]" in line


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("a", np.zeros((2, 2, 3), np.float32), "a has shape [2, 2, 3], allowed is [2, 3, 2]"),
        ("a", np.zeros((2, 3), np.float32), "a has shape [2, 3], allowed is [2, 3, 2]"),
        ("a", np.float32(0).reshape(()), "a has shape [], allowed is [2, 3, 2]"),
        ("a", np.full((2, 3, 2), np.nan, np.float32), "a holds NaN"),
        ("b", np.zeros((8, 6), np.float32), "b has shape [8, 6], allowed is [8, 5]"),
        ("c", np.zeros(3, np.uint8), "c has shape [3], allowed is [2]"),
        ("c", np.zeros(2, np.int8), "c has dtype I8, allowed is U8"),
    ],
)
def test_a_tensor_that_does_not_fit_is_told(name: str, value: np.ndarray, expected: str) -> None:
    assert expected in complaint({**fitting(2), name: value})


def test_no_instance_at_all_is_told() -> None:
    assert "a has shape [0, 3, 2], allowed is [1, 3, 2]" in complaint(fitting(0))


CARRIED = st.sampled_from([torch.float32, torch.uint8, torch.int64, torch.bool, torch.float16])


@given(st.permutations(range(4)), st.lists(st.integers(1, 4), min_size=4, max_size=4), CARRIED)
def test_a_tensor_comes_back_from_the_wire_with_its_strides(
    order: list[int], shape: list[int], dtype: torch.dtype
) -> None:
    count = int(np.prod(shape))
    tensor = (torch.arange(count) % 7).to(dtype).reshape(shape).permute(tuple(order))
    spec = TensorSpec(name="x", dtype=safetensors_dtype(dtype), shape=tuple(tensor.shape), dim_order=dim_order(tensor))

    carried = to_numpy(tensor, spec)
    found = to_torch(carried, spec)

    assert carried.flags.c_contiguous
    check_tensors({"x": carried}, (spec,))
    assert found.dtype == dtype
    assert torch.equal(found, tensor)
    long = [dim for dim, size in enumerate(tensor.shape) if size > 1]  # the stride of one element means nothing
    assert [found.stride(dim) for dim in long] == [tensor.stride(dim) for dim in long]
