"""Where a program can be cut, what such a place is called, and what crosses there."""

import dataclasses
from collections import Counter
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.fx import Node

from shardline.partition.capture import capture
from shardline.partition.liveness import Liveness, analyse, is_member, size_at, tensor_bytes
from shardline.partition.models import Model, load_model
from shardline.storage.bundle import PictureSpec
from shardline.wire.errors import CutError

NAMES = ("residual", "tuples", "windows", "reused")
FLOAT = 4  # bytes


@pytest.fixture(scope="module")
def analysed() -> dict[str, Liveness]:
    return {name: analyse(capture(load_model(f"services.small_models:{name}", size=32))) for name in NAMES}


def live_names(liveness: Liveness, position: str) -> list[str]:
    return [node.name for node in liveness.find(position).live]


def test_live_sets_of_two_skip_connections(analysed: dict[str, Liveness]) -> None:
    """first + second * third + fourth, where each but fourth is used twice."""
    residual = analysed["residual"]
    first, second, third, fourth = (residual.find(name).node.name for name in ("stem", "one", "two", "three"))

    assert live_names(residual, "div_1") == ["div_1"]
    assert live_names(residual, "stem") == [first]
    assert live_names(residual, "one.0") == [first, residual.find("one.0").node.name]
    assert live_names(residual, "one") == [first, second]
    assert live_names(residual, "two") == [first, second, third]
    assert live_names(residual, "three") == [first, second, third, fourth]
    assert [len(position.live) for position in residual.positions[-4:]] == [3, 2, 1, 1]


def test_bytes_of_one_instance_are_those_of_the_tensors_that_cross(analysed: dict[str, Liveness]) -> None:
    residual = analysed["residual"]
    one = 8 * 16 * 16 * FLOAT

    assert residual.find("0").bytes_per_instance() == 3 * 32 * 32 * FLOAT
    assert residual.find("stem").bytes_per_instance() == one
    assert residual.find("three").bytes_per_instance() == 4 * one
    assert tensor_bytes(residual.pixels) == 3 * 32 * 32
    assert tensor_bytes(residual.find("stem").node, batch=5) == 5 * one


def test_a_dimension_that_is_a_multiple_of_the_batch_counts_so(analysed: dict[str, Liveness]) -> None:
    windows = [dim for position in analysed["windows"].positions for dim in position.node.meta["val"].shape]
    multiples = {size_at(dim, 3) for dim in windows if isinstance(dim, torch.SymInt)}

    assert {3, 48} <= multiples
    assert all(multiple % 3 == 0 for multiple in multiples)


def test_positions_bear_the_names_of_modules_that_end_there(analysed: dict[str, Liveness]) -> None:
    residual = analysed["residual"]

    assert residual.find("one").names == ("one", "one.2")
    assert residual.find("one.1").names == ("one.1",)
    assert residual.find("one.1").name == "one.1"
    assert residual.find("mean").names == ()
    assert residual.find("mean").name == "mean"
    assert [position.index for position in residual.positions] == list(range(len(residual.positions)))


def test_the_module_that_ends_with_the_model_is_no_position(analysed: dict[str, Liveness]) -> None:
    with pytest.raises(CutError, match="no position 'head'"):
        analysed["residual"].find("head")


def test_a_module_that_is_called_again_ends_with_its_last_call(analysed: dict[str, Liveness]) -> None:
    reused = analysed["reused"]
    convolutions = [node.name for node in reused.carried if node.target is torch.ops.aten.conv2d.default]
    relus = [node.name for node in reused.carried if node.target is torch.ops.aten.relu.default]

    assert (len(convolutions), len(relus)) == (3, 3)
    assert reused.find("same").node.name == convolutions[2]
    assert reused.find("relu").node.name == relus[2]
    assert live_names(reused, "same") == [relus[0], convolutions[2]]
    assert live_names(reused, "relu") == [relus[0], relus[2]]


def test_a_node_that_is_called_like_a_module_that_ends_elsewhere_goes_by_its_number(
    analysed: dict[str, Liveness],
) -> None:
    reused = analysed["reused"]
    first = next(position for position in reused.positions if position.node.name == "relu")

    assert first.name == str(first.index)
    assert reused.find("relu").index > first.index
    assert live_names(reused, first.name) == ["relu"]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_one_positions_alone(name: str, analysed: dict[str, Liveness]) -> None:
    positions = analysed[name].positions
    names = Counter(each for position in positions for each in {*position.names, position.name})

    assert set(names.values()) == {1}
    assert all(analysed[name].find(position.name) is position for position in positions)


def test_what_no_frame_carries_never_crosses() -> None:
    liveness = analyse(capture(load_model("services.small_models:spectrum", size=8)))
    dtypes = {node.meta["val"].dtype for node in liveness.carried}
    crossing = {node.meta["val"].dtype for position in liveness.positions for node in position.live}

    assert {torch.complex64, torch.bfloat16} <= dtypes
    assert crossing == {torch.float32, torch.bfloat16}


def test_a_number_is_always_a_position_and_never_a_module() -> None:
    liveness = liveness_of(nn.Sequential(nn.Conv2d(3, 3, 1), nn.Sequential(nn.ReLU(), nn.Tanh()), nn.Sigmoid()))

    assert liveness.find("1.0").node.target is torch.ops.aten.relu.default
    assert liveness.find("1").index == 1
    assert all(liveness.find(position.name) is position for position in liveness.positions)


# random graphs


@dataclasses.dataclass(frozen=True)
class Step:
    """One operation on the tensors made so far, all of [batch, 3, 2, 2]."""

    kind: str
    arguments: tuple[int, int]


class Steps(nn.Module):
    """Runs steps, and gives the sum of the last tensor and those kept."""

    def __init__(self, steps: list[Step], kept: list[int]) -> None:
        super().__init__()
        self.steps, self.kept = steps, kept
        self.scale = nn.Parameter(torch.ones(3, 1, 1))
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        made = [x]
        for step in self.steps:
            left, right = (made[index % len(made)] for index in step.arguments)
            made += self.run(step.kind, left, right)
        return [made[index % len(made)] + 1 for index in self.kept] + [made[-1].tanh()]

    def run(self, kind: str, left: torch.Tensor, right: torch.Tensor) -> list[torch.Tensor]:
        match kind:
            case "relu":
                return [self.relu(left)]
            case "scale":
                return [left * (self.scale * 2).sigmoid()]
            case "add":
                return [left + right]
            case "mask":
                return [left.masked_fill(left.new_ones(2, 2) > 0, right.shape[0])]
            case "halves":
                return [torch.cat((half, half), 3) for half in left.chunk(2, dim=3)]
            case _:
                values, indices = left.sort(dim=2)
                return [values, indices.float()] if kind == "sort" else [indices + right]


KINDS = ("relu", "scale", "add", "mask", "halves", "sort", "indices")
steps = st.builds(Step, st.sampled_from(KINDS), st.tuples(st.integers(0, 20), st.integers(0, 20)))


def liveness_of(module: nn.Module) -> Liveness:
    model = Model(
        reference="random",
        weights="as built",
        module=module.eval(),
        picture=PictureSpec(height=2, width=2),
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    )
    return analyse(capture(model))


def made_from_pixels(liveness: Liveness) -> set[Node]:
    """Every node that a value of the pixels flows into, found by following users."""
    found: set[Node] = set()
    waiting = [liveness.pixels]
    while waiting:
        users = [user for user in waiting.pop().users if user.op == "call_function" and user not in found]
        users = [user for user in users if isinstance(user.meta["val"], torch.Tensor | tuple | list)]
        found.update(users)
        waiting += users
    return found


@pytest.mark.slow
@given(st.lists(steps, min_size=1, max_size=8), st.lists(st.integers(0, 20), max_size=2))
@settings(max_examples=20, deadline=None)
def test_what_is_alive_is_what_was_made_before_and_is_used_after(program: list[Step], kept: list[int]) -> None:
    liveness = liveness_of(Steps(program, kept))
    order = [liveness.pixels, *liveness.carried]
    assert set(liveness.carried) == made_from_pixels(liveness)
    assert [position.node for position in liveness.positions] == places(liveness)

    for position in liveness.positions:
        at = order.index(position.node)
        before, after = order[: at + 1], set(order[at + 1 :])
        expected = [
            node
            for node in before
            if isinstance(node.meta["val"], torch.Tensor) and (after & set(node.users) or node in liveness.outputs)
        ]

        assert list(position.live) == expected
        assert position.bytes_per_instance() == sum(tensor_bytes(node) for node in expected)


def places(liveness: Liveness) -> list[Node]:
    """After every tensor but the last, unless that parts a tuple."""
    return [
        before
        for before, after in pairwise(liveness.carried)
        if isinstance(before.meta["val"], torch.Tensor) and not (is_member(before) and is_member(after))
    ]
