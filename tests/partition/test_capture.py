"""The exported program is the user's module, functional, to the bit; what cannot be so is refused with one line."""

import pytest
import torch
from torch.export import ExportedProgram
from torch.fx import Node

from shardline.partition.capture import capture, random_pixels, run_whole, whole_module
from shardline.partition.liveness import analyse
from shardline.partition.models import Model, load_model
from shardline.partition.program import runnable
from shardline.wire.errors import ModelError

NAMES = ("residual", "tuples", "shared_buffer", "windows", "strided", "in_place", "named_outputs", "reused")
BATCHES = (1, 2, 5)


@pytest.fixture(scope="module")
def captured() -> dict[str, tuple[Model, ExportedProgram]]:
    models = {name: load_model(f"services.small_models:{name}", size=32) for name in NAMES}
    return {name: (model, capture(model)) for name, model in models.items()}


def operations(program: ExportedProgram) -> list[Node]:
    return [node for node in program.graph.nodes if node.op == "call_function"]


@pytest.mark.parametrize("name", NAMES)
def test_the_program_equals_the_module_to_the_bit(
    name: str, captured: dict[str, tuple[Model, ExportedProgram]]
) -> None:
    model, program = captured[name]
    for batch in BATCHES:
        pixels = random_pixels(model, batch, seed=40 + batch)
        expected, found = run_whole(whole_module(model), pixels), run_whole(runnable(program), pixels)

        assert len(found) == len(expected)
        assert all(torch.equal(left, right) for left, right in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_no_operation_changes_a_tensor_in_place(name: str, captured: dict[str, tuple[Model, ExportedProgram]]) -> None:
    _, program = captured[name]
    schemas = [node.target._schema for node in operations(program) if isinstance(node.target, torch._ops.OpOverload)]

    assert len(schemas) > 3
    assert not [schema.name for schema in schemas if schema.is_mutable]


def test_a_module_that_works_in_place_leaves_its_input_alone(
    captured: dict[str, tuple[Model, ExportedProgram]],
) -> None:
    model, program = captured["in_place"]
    pixels = random_pixels(model, 2)
    before = pixels.clone()
    run_whole(runnable(program), pixels)

    assert torch.equal(pixels, before)


def test_outputs_in_containers_are_one_flat_tuple(captured: dict[str, tuple[Model, ExportedProgram]]) -> None:
    _, program = captured["named_outputs"]
    shapes = [tuple(node.meta["val"].shape[1:]) for node in analyse(program).outputs]

    # leaves in torch's own order: a dict's as they were put in
    assert shapes == [(3,), (4, 15, 15), (), (4, 15, 15)]


def test_masks_are_constants_and_free_of_the_pixels(captured: dict[str, tuple[Model, ExportedProgram]]) -> None:
    _, program = captured["windows"]
    targets = [node.target for node in operations(program)]
    zeros = next(node for node in operations(program) if node.target is torch.ops.aten.zeros.default)

    assert torch.ops.aten.new_zeros.default not in targets
    assert zeros.all_input_nodes == []
    assert zeros not in analyse(program).carried


def test_nothing_only_asserts(captured: dict[str, tuple[Model, ExportedProgram]]) -> None:
    for _, program in captured.values():
        assert not [node.name for node in operations(program) if "_assert" in str(node.target)]


def test_random_pixels_are_the_same_for_the_same_seed() -> None:
    model = load_model("services.small_models:residual", size=16)
    first, again, other = (random_pixels(model, 3, seed) for seed in (1, 1, 2))

    assert first.shape == (3, 3, 16, 16)
    assert first.dtype == torch.uint8
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_running_the_whole_leaves_the_switch_of_fused_attention_as_it_was() -> None:
    before = torch.backends.mha.get_fastpath_enabled()
    run_whole(whole_module(load_model("services.small_models:windows", size=16)), torch.zeros(1, 3, 16, 16).byte())

    assert torch.backends.mha.get_fastpath_enabled() == before


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mutating", "changes its own buffers when it runs; a shard must be stateless"),
        ("fixed_batch", "torch.export does not take it with a dynamic batch"),
        (
            "broken",
            "does not run on pictures of 16 x 16 pixels, mode RGB: it raised ValueError at "
            "tests/services/small_models.py:291: this model never runs",
        ),
        ("random", "is its forward random, or does it depend on the batch?"),
        ("not_a_tensor", "gives an output that is no tensor"),
        ("complex_output", "gives an output of torch.complex64; return real numbers"),
        ("nothing", "gives an output that is no tensor"),
    ],
)
def test_what_cannot_be_captured_is_one_line(name: str, expected: str) -> None:
    with pytest.raises(ModelError) as caught:
        capture(load_model(f"services.small_models:{name}", size=16))

    line = str(caught.value)
    assert line.startswith(f"services.small_models:{name}")
    assert expected in line
    assert "\n" not in line
    assert len(line) < 600
