"""One shard, loaded from its folder: equal to the whole's own numbers, and nothing wrong gets in."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from shardline.partition.build import BuildOptions, build
from shardline.partition.models import load_model
from shardline.partition.runtime import Golden, LoadedShard, load_shard
from shardline.partition.tensors import check_tensors
from shardline.partition.verify import LocalChain
from shardline.storage.bundle import GOLDEN_FILE, SHARD_FILE, stage_folder
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
    expected = LocalChain(small_bundle).run_reference(pixels(batch))
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


# what gets in


def test_a_shard_refuses_what_does_not_fit(shards: list[LoadedShard]) -> None:
    with pytest.raises(FrameError, match="pixels has dtype F32, allowed is U8"):
        shards[0].run({"pixels": pixels(1).astype(np.float32)})


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
        (larger, "gives .* error of 0.0099 from the golden output; in fp32 0.001 is allowed: build .* on this machine"),
        (without_outputs, "does not run its golden input .*is missing"),
        (without_inputs, "does not run its golden input .*is missing"),
        (of_two, "gives .* error of inf from the golden output"),
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

    outputs = LocalChain(tmp_path / "masked").run_stages(pixels)[-1]

    assert np.isfinite(outputs["output"]).all()


# threads


def test_frames_between_shards_are_what_the_specs_say(shards: list[LoadedShard]) -> None:
    tensors = {"pixels": pixels(2)}
    for before, after in itertools.pairwise(shards):
        tensors = before.run(tensors)

        check_tensors(tensors, after.stage.inputs)
