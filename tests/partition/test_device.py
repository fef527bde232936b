"""Where a shard computes. What needs a GPU is skipped where there is none."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import build_small

from shardline.partition.compiled import select
from shardline.partition.device import (
    CPU,
    available_cpus,
    bound_memory,
    choose_device,
    gpu_architecture,
    is_device,
    memory_bytes,
    use_threads,
)
from shardline.partition.runtime import Golden, LoadedShard, executor_on, load_shard
from shardline.storage.bundle import TensorSpec, stage_folder
from shardline.storage.bundle_folder import open_bundle
from shardline.wire.errors import UsageError

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
MIG = "MIG-9a0e1f5c-3b1d-5a8e-9c77-0123456789ab"


@pytest.mark.parametrize("name", ["auto", "cpu", "cuda", "cuda:0", "cuda:7", MIG, MIG.replace("MIG", "GPU")])
def test_a_device_may_be_named_so(name: str) -> None:
    assert is_device(name)


@pytest.mark.parametrize("name", ["tpu", "", "cuda:", "cuda:-1", "cuda:0 ", "0", "MIG-1", f"{MIG},{MIG}", f"{MIG}\n"])
def test_an_unknown_device(name: str) -> None:
    assert not is_device(name)
    with pytest.raises(UsageError, match="allowed are auto, cpu, cuda, cuda:N or the UUID"):
        choose_device(name)


def test_cpu_is_always_there() -> None:
    assert choose_device("cpu") == CPU
    assert gpu_architecture(CPU) is None


def test_auto_takes_the_gpu_where_there_is_one() -> None:
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@no_gpu
@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_a_gpu_that_is_not_there_is_said(name: str) -> None:
    with pytest.raises(UsageError, match=f"device {name}: this process sees no GPU; give its container one"):
        choose_device(name)


@no_gpu
def test_a_slice_by_its_uuid_is_all_that_cuda_may_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(UsageError, match="this process sees no GPU"):
        choose_device(MIG)

    assert os.environ["CUDA_VISIBLE_DEVICES"] == MIG


def test_the_memory_of_the_cpu_is_the_containers_matter() -> None:
    with pytest.raises(UsageError, match="the container's memory limit holds"):
        bound_memory(CPU, 1024**3)


def test_outputs_come_back_in_the_order_of_memory() -> None:
    spec = TensorSpec(name="x", dtype="BF16", shape=("batch", 3, 4), dim_order=(0, 2, 1))
    tensor = torch.arange(24.0).to(torch.bfloat16).reshape(2, 4, 3).permute(0, 2, 1)

    (found,) = executor_on(CPU).run(lambda x: [x], [tensor], [spec])

    assert found.shape == (2, 4, 3)
    assert found.flags.c_contiguous
    assert np.array_equal(found.astype(np.float32), np.arange(24.0).reshape(2, 4, 3))


def inputs_of(shard: LoadedShard, folder: Path, batch: int) -> dict[str, np.ndarray]:
    """The golden input, `batch` times."""
    return dict(shard.repeated(Golden.load(folder).inputs, batch))


def assert_near(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], error: float) -> None:
    """Within `error` of the largest value: another device adds in another order."""
    for name, value in expected.items():
        wide = value.astype(np.float64)
        np.testing.assert_allclose(found[name].astype(np.float64), wide, atol=error * np.abs(wide).max(), rtol=0)


@needs_gpu
@pytest.mark.parametrize("index", range(3))
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_a_shard_on_the_gpu_gives_what_it_gives_on_the_cpu(small_bundle: Path, index: int, batch: int) -> None:
    folder = small_bundle / stage_folder(index)
    here, there = load_shard(folder), load_shard(folder, None, choose_device("cuda:0"))
    tensors = inputs_of(here, folder, batch)

    assert_near(there.run(tensors), here.run(tensors), 1e-4)


@needs_gpu
def test_frames_are_joined_on_the_gpu(small_bundle: Path) -> None:
    folder = small_bundle / stage_folder(1)
    shard, golden = load_shard(folder, None, choose_device("cuda")), Golden.load(folder)

    assert shard.can_join(golden)


@needs_gpu
@pytest.mark.parametrize(("precision", "error"), [("bf16", 5e-2), ("fp16", 1e-2)])
def test_rounded_shards_on_the_gpu(tmp_path: Path, precision: str, error: float) -> None:
    bundle = build_small(tmp_path / "rounded", cuts=("two",), precision=precision)
    for index in range(2):
        folder = bundle / stage_folder(index)
        here, there = load_shard(folder), load_shard(folder, None, choose_device("cuda"))
        tensors = inputs_of(here, folder, 2)

        assert_near(there.run(tensors), here.run(tensors), error)


@needs_gpu
@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_shards_compiled_for_the_gpu(tmp_path: Path, precision: str) -> None:
    bundle = build_small(tmp_path / "compiled", cuts=("two",), precision=precision, targets=("cuda",))
    device = choose_device("cuda")

    for stage in open_bundle(bundle).stages:
        folder = bundle / stage_folder(stage.index)
        assert {package.gpu_architecture for package in stage.compiled} == {gpu_architecture(device)}
        assert select(stage, device).packages
        assert not load_shard(folder).is_compiled  # on the CPU
        here, there = load_shard(folder), load_shard(folder, None, device)
        assert there.is_compiled
        for batch in (1, 2, 5):
            tensors = inputs_of(here, folder, batch)
            assert_near(there.run(tensors), here.run(tensors), 1e-3 if precision == "fp32" else 5e-2)


@needs_gpu
def test_a_gpu_that_is_one_too_many() -> None:
    count = torch.cuda.device_count()
    with pytest.raises(UsageError, match=f"the last is cuda:{count - 1}"):
        choose_device(f"cuda:{count}")


@needs_gpu
def test_memory_is_bounded_and_reported(small_bundle: Path) -> None:
    device = choose_device("cuda")
    total = torch.cuda.get_device_properties(device).total_memory
    with pytest.raises(UsageError, match=f"the GPU has {total}"):
        bound_memory(device, total + 1)
    bound_memory(device, 256 * 1024**2)
    try:
        load_shard(small_bundle / stage_folder(0), None, device)

        assert 0 < memory_bytes(device) <= 256 * 1024**2
        with pytest.raises(torch.cuda.OutOfMemoryError):
            torch.empty(512 * 1024**2, dtype=torch.uint8, device=device)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)


@needs_gpu
def test_two_shards_have_streams_of_their_own(small_bundle: Path) -> None:
    """And run at the same time from two threads, each with its own answer."""
    device = choose_device("cuda")
    folders = [small_bundle / stage_folder(index) for index in (0, 1)]
    shards = [load_shard(folder, None, device) for folder in folders]
    inputs = [inputs_of(shard, folder, 2) for shard, folder in zip(shards, folders, strict=True)]
    alone = [shard.run(tensors) for shard, tensors in zip(shards, inputs, strict=True)]

    with ThreadPoolExecutor(2) as pool:
        for _ in range(20):
            together = list(pool.map(lambda pair: pair[0].run(pair[1]), zip(shards, inputs, strict=True)))

            for found, expected in zip(together, alone, strict=True):
                assert all(np.array_equal(found[name], value) for name, value in expected.items())


@pytest.fixture
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("value", "expected"), [("1", 1), ("0", 1)])
def test_threads_follow_what_the_environment_asks(value: str, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)

    assert available_cpus() == expected


@pytest.mark.parametrize("value", ["", "many", "-3", "2.5", "999999"])
def test_what_asks_for_nothing_sensible_changes_nothing(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    expected = available_cpus()
    monkeypatch.setenv("OMP_NUM_THREADS", value)

    assert expected >= 1
    assert available_cpus() == expected


@pytest.mark.usefixtures("_threads")
def test_threads_are_set_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    assert [use_threads(3), use_threads(), use_threads(2)] == [3, 1, 2]
    assert torch.get_num_threads() == 2
