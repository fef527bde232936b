"""One shard, loaded from its folder: equal to the whole's own numbers, and nothing wrong gets in."""

import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from services.processes import ROOT

from shardline.partition.archive import check_torch_version
from shardline.partition.build import BuildOptions, build
from shardline.partition.device import available_cpus, use_threads
from shardline.partition.models import load_model
from shardline.partition.program import safetensors_dtype
from shardline.partition.runtime import Golden, LoadedShard, load_shard
from shardline.partition.tensors import check_tensors, dim_order, instance_axes, to_numpy, to_torch
from shardline.partition.verify import Chain
from shardline.storage.bundle import GOLDEN_FILE, SHARD_FILE, TensorSpec, stage_folder
from shardline.storage.bundle_folder import open_bundle
from shardline.wire.errors import BundleError, FrameError

STAGES = 3


@pytest.fixture(scope="module")
def shards(small_bundle: Path) -> list[LoadedShard]:
    return [load_shard(small_bundle / stage_folder(index)) for index in range(STAGES)]


def pixels(batch: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (batch, 3, 32, 32), dtype=np.uint8)


def test_a_shard_knows_its_place(shards: list[LoadedShard], small_bundle: Path) -> None:
    assert [shard.stage.index for shard in shards] == [0, 1, 2]
    assert [shard.is_last for shard in shards] == [False, False, True]
    assert {shard.digest for shard in shards} == {open_bundle(small_bundle).digest}


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_shards_one_after_the_other_equal_the_whole_to_the_bit(
    batch: int, shards: list[LoadedShard], small_bundle: Path
) -> None:
    expected = Chain(small_bundle).run_reference(pixels(batch))
    tensors = {"pixels": pixels(batch)}

    for shard, reference in zip(shards, expected, strict=True):
        tensors = shard.run(tensors)

        assert tensors.keys() == reference.keys()
        assert all(np.array_equal(tensors[name], reference[name]) for name in reference)
    assert tensors["output"].shape == (batch, 10)


def test_wherever_the_bytes_lie_the_answer_is_the_same(shards: list[LoadedShard]) -> None:
    """A frame's bytes are read-only, and at any address."""
    found = shards[0].run({"pixels": pixels(2)})
    first, second = shards[1], shards[2]
    moved = {}
    for name, value in found.items():
        buffer = np.frombuffer(b"\0" + value.tobytes(), np.uint8)[1:]
        moved[name] = buffer.view(value.dtype).reshape(value.shape)
        assert not moved[name].flags.writeable
        assert not moved[name].flags.aligned

    expected, again = second.run(first.run(found)), second.run(first.run(moved))

    assert np.array_equal(expected["output"], again["output"])


def test_an_input_is_not_changed(shards: list[LoadedShard]) -> None:
    tensors = shards[0].run({"pixels": pixels(1)})
    before = {name: value.copy() for name, value in tensors.items()}
    shards[1].run(tensors)

    assert all(np.array_equal(before[name], tensors[name]) for name in before)


def test_the_parts_of_a_frame_run_as_if_each_had_come_alone(shards: list[LoadedShard]) -> None:
    """Three instances, one at a time, to the bit."""
    whole = {"pixels": pixels(3)}
    alone = [{"pixels": whole["pixels"][index : index + 1]} for index in range(3)]
    for shard in shards:
        whole = dict(shard.concatenate([shard.run(shard.split(whole, index, index + 1)) for index in range(3)]))
        alone = [shard.run(tensors) for tensors in alone]

        for name, value in whole.items():
            assert np.array_equal(value, np.concatenate([tensors[name] for tensors in alone]))


JOINING: dict[str, tuple[str, ...]] = {
    "residual": ("one", "two"),
    "strided": ("norm", "mlp"),
    "tuples": ("norm",),
    "named_outputs": ("conv",),
}


@pytest.mark.parametrize("name", JOINING)
def test_frames_that_run_as_one_batch_each_get_their_own_outputs(name: str, tmp_path: Path) -> None:
    frames: list[Mapping[str, np.ndarray]] = [{"pixels": pixels(batch, seed=batch)} for batch in (1, 3, 2)]

    for shard in built(name, tmp_path, cuts=JOINING[name]):
        assert shard.can_join(Golden.load(tmp_path / name / stage_folder(shard.stage.index)))
        alone, joined = [shard.run(frame) for frame in frames], shard.run_joined(frames)

        for mine, expected in zip(joined, alone, strict=True):
            assert mine.keys() == expected.keys()
            for each, value in expected.items():
                assert mine[each].shape == value.shape
                np.testing.assert_allclose(mine[each], value, rtol=0, atol=1e-4)
        frames = [*alone]


def built(name: str, folder: Path, cuts: tuple[str, ...] = ()) -> list[LoadedShard]:
    model = load_model(f"services.small_models:{name}", size=32)
    bundle, _ = build(model, name.replace("_", "-"), pixels(2), BuildOptions(cuts=cuts, stages=1), folder / name)
    return [load_shard(folder / name / stage_folder(stage.index)) for stage in bundle.stages]


@pytest.mark.parametrize("name", ["mixing", "windows"])
def test_what_cannot_be_told_apart_is_not_joined(name: str, tmp_path: Path) -> None:
    """One picture's outputs that depend on its neighbours; tensors that hold the batch inside a dimension."""
    shards = built(name, tmp_path, cuts=("attention",) if name == "windows" else ())

    assert not any(shard.can_join(Golden.load(tmp_path / name / stage_folder(shard.stage.index))) for shard in shards)


def test_a_value_that_all_instances_share_is_not_joined(shards: list[LoadedShard], small_bundle: Path) -> None:
    """Two frames would write theirs to one place. Such a stage runs them one by one."""
    shard = shards[1]
    name = shard.stage.inputs[0].name
    inputs = tuple(
        replace(spec, strides=(0, *(1,) * (len(spec.shape) - 1))) if spec.name == name else spec
        for spec in shard.stage.inputs
    )
    repeating = LoadedShard(shard.bundle, replace(shard.stage, inputs=inputs), torch.nn.Identity())

    assert repeating.can_split
    assert not repeating.can_join(Golden.load(small_bundle / stage_folder(1)))


def test_a_frame_is_parted_along_its_instances_wherever_they_lie() -> None:
    turned = TensorSpec(name="a", dtype="F32", shape=("batch", 2, 3), dim_order=(1, 0, 2))
    windows = TensorSpec(name="b", dtype="F32", shape=("4*batch", 5), dim_order=(0, 1))

    assert instance_axes((turned,)) == {"a": 1}
    assert instance_axes((turned, windows)) is None


# what gets in


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


def test_a_shard_refuses_what_does_not_fit(shards: list[LoadedShard]) -> None:
    with pytest.raises(FrameError, match="pixels has dtype F32, allowed is U8"):
        shards[0].run({"pixels": pixels(1).astype(np.float32)})


DTYPES = st.sampled_from([torch.float32, torch.uint8, torch.int64, torch.bool, torch.float16])


@given(st.permutations(range(4)), st.lists(st.integers(1, 4), min_size=4, max_size=4), DTYPES)
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


# what is not loaded


def refused(folder: Path, digest: str | None = None) -> str:
    with pytest.raises(BundleError) as caught:
        load_shard(folder, digest)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def golden_changed(change: Callable[[Golden], Golden]) -> Callable[[Path], None]:
    def change_files(draft: Path) -> None:
        folder = draft / stage_folder(1)
        change(Golden.load(folder)).save(folder)

    return change_files


def larger(golden: Golden) -> Golden:
    return Golden(golden.inputs, {name: value * 1.01 for name, value in golden.outputs.items()})


def without_outputs(golden: Golden) -> Golden:
    return Golden(golden.inputs, {})


def without_inputs(golden: Golden) -> Golden:
    return Golden({}, golden.outputs)


def of_two(golden: Golden) -> Golden:
    return Golden(golden.inputs, {name: np.repeat(value, 2, axis=0) for name, value in golden.outputs.items()})


def not_numbers(golden: Golden) -> Golden:
    return Golden(golden.inputs, {name: np.full_like(value, np.nan) for name, value in golden.outputs.items()})


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (larger, "gives .* off by .* from the golden output .*: build the bundle with this torch"),
        (without_outputs, "does not run its golden input .*is missing"),
        (without_inputs, "does not run its golden input .*is missing"),
        (of_two, "gives .* off by inf from the golden output"),
        (not_numbers, "does not run its golden input .*holds NaN"),
    ],
)
def test_a_golden_output_that_the_shard_does_not_give_is_refused(
    change: Callable[[Golden], Golden], expected: str, small_bundle: Path, reseal: Callable[..., Path]
) -> None:
    bundle = reseal(small_bundle, golden_changed(change))
    load_shard(bundle / stage_folder(0))

    with pytest.raises(BundleError, match=f"^stage 1 {expected}"):
        load_shard(bundle / stage_folder(1))


def test_a_golden_output_that_is_off_by_rounding_is_taken(small_bundle: Path, reseal: Callable[..., Path]) -> None:
    def rounded(golden: Golden) -> Golden:
        return Golden(golden.inputs, {name: value * np.float32(1 + 1e-5) for name, value in golden.outputs.items()})

    load_shard(reseal(small_bundle, golden_changed(rounded)) / stage_folder(1))


def test_a_golden_file_that_cannot_be_read_is_refused(small_bundle: Path, reseal: Callable[..., Path]) -> None:
    def damage(draft: Path) -> None:
        (draft / stage_folder(1) / GOLDEN_FILE).write_bytes(b"not safetensors")

    assert f"{GOLDEN_FILE} cannot be read" in refused(reseal(small_bundle, damage) / stage_folder(1))


def test_shards_in_each_others_place_are_refused(small_bundle: Path, reseal: Callable[..., Path]) -> None:
    def swap(draft: Path) -> None:
        first, last = (draft / stage_folder(index) / SHARD_FILE for index in (0, 2))
        moved = first.read_bytes()
        first.write_bytes(last.read_bytes())
        last.write_bytes(moved)

    bundle = reseal(small_bundle, swap)

    for index in (0, 2):
        assert f"stage {index} does not run its golden input" in refused(bundle / stage_folder(index))


def test_a_shard_of_another_bundle_is_refused(small_bundle: Path, other_bundle: Path) -> None:
    mine, other = open_bundle(small_bundle).digest, open_bundle(other_bundle).digest
    line = refused(small_bundle / stage_folder(0), other)

    assert mine in line
    assert other in line


def test_a_shard_of_another_torch_is_refused(small_bundle: Path, reseal: Callable[..., Path]) -> None:
    line = refused(reseal(small_bundle, torch_version="1.13.1") / stage_folder(0))

    assert f"built with torch 1.13.1, here is {torch.__version__}" in line


def test_numbers_that_are_not_finite_come_back(tmp_path: Path) -> None:
    """torch writes them as text, which an archive may hold nowhere else."""
    model = load_model("services.small_models:masked", size=8)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8), dtype=np.uint8)
    build(model, "masked", pixels, BuildOptions(stages=1), tmp_path / "masked")

    outputs = Chain(tmp_path / "masked").run_stages(pixels)[-1]

    assert np.isfinite(outputs["output"]).all()


def test_a_torch_of_the_same_release_is_taken() -> None:
    major, minor, *_ = torch.__version__.split(".")

    check_torch_version(f"{major}.{minor}.99")
    with pytest.raises(BundleError, match="build the bundle again"):
        check_torch_version(f"{major}.{int(minor) + 1}.0")


# threads


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


def test_frames_between_shards_are_what_the_specs_say(shards: list[LoadedShard]) -> None:
    tensors = {"pixels": pixels(2)}
    for before, after in itertools.pairwise(shards):
        tensors = before.run(tensors)

        check_tensors(tensors, after.stage.inputs)


class Boxes(torch.nn.Module):
    """An operation of torchvision's own."""

    def forward(self, boxes: torch.Tensor) -> torch.Tensor:
        return torchvision.ops.nms(boxes, boxes[:, 0], 0.5)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of torch's own, while it exports
def test_a_program_with_torchvision_s_operations_is_loaded_by_a_process_that_has_not_imported_it(
    tmp_path: Path,
) -> None:
    program = torch.export.export(Boxes(), (torch.rand(5, 4),))
    program._example_inputs = None
    for node in program.graph.nodes:
        node.meta = {key: value for key, value in node.meta.items() if key == "val"}
    torch.export.save(program, tmp_path / "shard.pt2")
    code = (
        "import sys, pathlib; from shardline.partition.runtime import load_program; "
        "assert 'torchvision' not in sys.modules; "
        "load_program(pathlib.Path(sys.argv[1])); print('loaded')"
    )

    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "shard.pt2")], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert result.stdout == "loaded\n", result.stderr
