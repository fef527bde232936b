"""The chain of shards equals the whole to the bit, wherever it is cut."""

import itertools
import random
from collections.abc import Sequence

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils._pytree import tree_leaves

from shardline.partition.capture import capture, random_pixels, run_whole, whole_module
from shardline.partition.cut import Shard, cut
from shardline.partition.liveness import Liveness, Position, analyse, size_at
from shardline.partition.models import Model, load_model
from shardline.partition.program import runnable
from shardline.partition.tensors import to_numpy, to_torch
from shardline.wire.errors import CutError

SMALL = ("residual", "tuples", "shared_buffer", "windows", "strided")
# name -> size in pixels; small pictures prove a cut as well as large ones
FAMILIES = {
    "resnet18": 64,
    "convnext_tiny": 64,
    "googlenet": 64,
    "mobilenet_v3_small": 64,
    "shufflenet_v2_x1_0": 64,
    "squeezenet1_1": 64,
    "vit_b_16?image_size=64": 64,
}
TORCHVISION = FAMILIES | {
    "densenet121": 64,
    "swin_t": 64,
    "resnet50": 64,
    "resnext50_32x4d": 64,
    "mobilenet_v2": 64,
    "efficientnet_b0": 64,
    "efficientnet_v2_s": 64,
    "inception_v3": 96,
    "regnet_y_400mf": 64,
    "mnasnet1_0": 64,
    "vgg11": 64,
    "alexnet": 64,
    "maxvit_t": 224,
    "lraspp_mobilenet_v3_large": 64,
    "deeplabv3_mobilenet_v3_large": 64,
    "deeplabv3_resnet50": 64,
    "deeplabv3_resnet101": 64,
    "fcn_resnet50": 64,
    "fcn_resnet101": 64,
}


def small(name: str) -> tuple[Model, Liveness]:
    model = load_model(f"services.small_models:{name}", size=32)
    return model, analyse(capture(model))


@pytest.fixture(scope="module")
def captured() -> dict[str, tuple[Model, Liveness]]:
    return {name: small(name) for name in SMALL}


def run_chain(shards: Sequence[Shard], pixels: torch.Tensor) -> list[torch.Tensor]:
    """Run the shards one after the other, each tensor packed as a frame carries it."""
    tensors = {shards[0].inputs[0].name: pixels.numpy()}
    for shard in shards:
        inputs = [to_torch(tensors[spec.name], spec) for spec in shard.inputs]
        with torch.inference_mode():
            outputs = tree_leaves(runnable(shard.program)(*inputs))
        tensors = {spec.name: to_numpy(value, spec) for spec, value in zip(shard.outputs, outputs, strict=True)}
    return [to_torch(tensors[spec.name], spec) for spec in shards[-1].outputs]


def assert_equal(model: Model, shards: Sequence[Shard], batches: Sequence[int]) -> None:
    for batch in batches:
        pixels = random_pixels(model, batch, seed=100 + batch)
        expected = run_whole(whole_module(model), pixels)
        found = run_chain(shards, pixels)

        assert len(found) == len(expected)
        for left, right in zip(found, expected, strict=True):
            assert torch.equal(left, right), (left - right).abs().max()


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_every_single_cut_of_a_small_model_is_exact(name: str, captured: dict[str, tuple[Model, Liveness]]) -> None:
    model, liveness = captured[name]
    for position in liveness.positions:
        shards = list(cut(liveness, [position], random_pixels(model, 2)))
        assert_equal(model, shards, (1, 3))


@given(data=st.data())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_set_of_cuts_is_exact(data: st.DataObject, captured: dict[str, tuple[Model, Liveness]]) -> None:
    model, liveness = captured[data.draw(st.sampled_from(SMALL))]
    indexes = data.draw(st.sets(st.integers(0, len(liveness.positions) - 1), min_size=0, max_size=6))
    positions = [liveness.positions[index] for index in sorted(indexes)]

    shards = list(cut(liveness, positions, random_pixels(model, 2)))

    assert len(shards) == len(positions) + 1
    assert_equal(model, shards, (data.draw(st.integers(1, 4)),))


def check_torchvision(name: str, counts: Sequence[int]) -> None:
    """Cut the model at random positions, once for each number of stages, and compare with the whole."""
    model = load_model(f"torchvision:{name}", "random:0", TORCHVISION[name])
    liveness = analyse(capture(model))
    choose = random.Random(name)
    for stages in counts:
        indexes = sorted(choose.sample(range(len(liveness.positions)), stages - 1))
        shards = list(cut(liveness, [liveness.positions[index] for index in indexes], random_pixels(model, 2)))

        assert_equal(model, shards, (1, 2))


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_families_of_torchvision_are_exact_in_5_shards(name: str) -> None:
    check_torchvision(name, (5,))


@pytest.mark.heavy
def test_a_segmentation_is_exact_in_2_3_and_5_shards() -> None:
    check_torchvision("lraspp_mobilenet_v3_large", (2, 3, 5))


@pytest.mark.heavy
@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision_models_are_exact_in_2_3_and_5_shards(name: str) -> None:
    check_torchvision(name, (2, 3, 5))


def test_a_frame_between_shards_carries_what_the_next_one_takes(captured: dict[str, tuple[Model, Liveness]]) -> None:
    model, liveness = captured["residual"]
    shards = list(cut(liveness, [liveness.find("one"), liveness.find("two")], random_pixels(model, 2)))

    for before, after in itertools.pairwise(shards):
        assert before.outputs == after.inputs
    assert [shard.cut for shard in shards] == ["one", "two", None]
    assert [spec.name for spec in shards[0].inputs] == ["pixels"]
    assert [spec.dtype for spec in shards[0].inputs] == ["U8"]
    assert [spec.name for spec in shards[-1].outputs] == ["output"]
    assert shards[-1].outputs[0].shape == ("batch", 10)


def test_two_skip_connections_cross_as_two_tensors(captured: dict[str, tuple[Model, Liveness]]) -> None:
    _, liveness = captured["residual"]

    assert len(liveness.find("one").live) == 2
    assert len(liveness.find("two").live) == 3


def test_no_cut_parts_a_tuple(captured: dict[str, tuple[Model, Liveness]]) -> None:
    _, liveness = captured["tuples"]
    names = [position.node.name for position in liveness.positions]

    assert not any(name.startswith(("split", "topk", "_native_batch_norm")) for name in names)


def test_windows_cross_as_multiples_of_the_batch(captured: dict[str, tuple[Model, Liveness]]) -> None:
    model, liveness = captured["windows"]

    for multiple, text in ((1, "batch"), (16, "16*batch")):
        position = next(position for position in liveness.positions if multiple in multiples(position))
        first, _ = cut(liveness, [position], random_pixels(model, 2))
        assert text in {dim for spec in first.outputs for dim in spec.shape}


def multiples(position: Position) -> set[int]:
    """By how many times the batch the dimensions of the tensors that cross here are as large."""
    dims = (dim for node in position.live for dim in node.meta["val"].shape)
    return {size_at(dim, 1) for dim in dims if not isinstance(dim, int)}


def test_constants_never_cross(captured: dict[str, tuple[Model, Liveness]]) -> None:
    _, liveness = captured["windows"]

    for position in liveness.positions:
        assert all(
            not isinstance(node.meta["val"].shape[0], int) or node.meta["val"].dim() > 2 for node in position.live
        )


def test_what_two_shards_share_is_in_both(captured: dict[str, tuple[Model, Liveness]]) -> None:
    model, liveness = captured["shared_buffer"]
    first, last = cut(liveness, [liveness.find("middle")], random_pixels(model, 2))

    for shard in (first, last):
        assert any("scale" in name for name in [*shard.program.state_dict, *shard.program.constants])


@pytest.mark.parametrize(
    ("cuts", "message"),
    [
        (["thre"], "near it are .*three"),
        (["9999"], "positions run from 0 to"),
        (["two", "one"], "does not come after"),
        (["one", "one"], "does not come after"),
    ],
)
def test_a_wrong_cut_is_one_clear_line(
    cuts: list[str], message: str, captured: dict[str, tuple[Model, Liveness]]
) -> None:
    with pytest.raises(CutError, match=message):
        captured["residual"][1].find_all(cuts)


def test_positions_are_found_by_number_module_and_node(captured: dict[str, tuple[Model, Liveness]]) -> None:
    _, liveness = captured["residual"]
    position = liveness.find("one")

    assert liveness.find(str(position.index)) == position
    assert liveness.find(position.node.name) == position
    assert liveness.find("one.2") == position


def test_what_the_last_stage_gives_has_the_model_s_own_dimensions() -> None:
    """A task reads it, and knows nothing of how it lies in memory."""
    model = load_model("services.small_models:turned_output", size=8)
    liveness = analyse(capture(model))

    [shard] = cut(liveness, [], random_pixels(model, 2))

    assert [spec.dim_order for spec in shard.outputs] == [(0, 1, 2)]
    assert shard.outputs[0].shape == ("batch", 64, 3)
    assert_equal(model, [shard], (1, 2))
