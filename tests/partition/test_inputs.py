"""Models of other pictures and of more inputs: split == whole to the bit, and every mismatch is one line."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from services.many_inputs import Masked
from torch import nn
from torch.export import Dim
from torch.utils._pytree import tree_leaves

from shardline.partition.capture import capture, random_pixels, run_whole, whole_module, with_samples
from shardline.partition.cut import Shard, cut
from shardline.partition.inputs import with_inputs
from shardline.partition.liveness import analyse
from shardline.partition.models import Model, load_model
from shardline.partition.pictures import Size
from shardline.partition.prepare import in_precision
from shardline.partition.program import runnable
from shardline.partition.tensors import to_numpy, to_torch
from shardline.storage.inputs import parse_inputs
from shardline.wire.errors import ModelError, ShardlineError, UsageError

MASK = "mask=float32[1,32,32]"
# name -> size of the pictures, and the further inputs
MODELS: dict[str, tuple[Size, tuple[str, ...]]] = {
    "grey": (32, ()),
    "rgba": (32, ()),
    "Channels": ((16, 64), ()),
    "masked": (32, (MASK,)),
    "conditioned": (32, ("kind=int64", "vector=float32[6]")),
    "siamese": (32, ("reference=picture",)),
}


def loaded(name: str, size: Size, inputs: Sequence[str]) -> Model:
    return with_inputs(load_model(f"services.many_inputs:{name}", size=size), parse_inputs(inputs))


def run_shards(shards: Sequence[Shard], inputs: Sequence[torch.Tensor]) -> torch.Tensor:
    """Run the shards one after the other, each tensor packed as a frame carries it."""
    tensors = {spec.name: value.numpy() for spec, value in zip(shards[0].inputs, inputs, strict=True)}
    for shard in shards:
        taken = [to_torch(tensors[spec.name], spec) for spec in shard.inputs]
        with torch.inference_mode():
            given = tree_leaves(runnable(shard.program)(*taken))
        tensors = {spec.name: to_numpy(value, spec) for spec, value in zip(shard.outputs, given, strict=True)}
    return to_torch(tensors["output"], shards[-1].outputs[0])


@pytest.mark.parametrize("name", MODELS)
def test_split_equals_whole_to_the_bit(name: str) -> None:
    model = loaded(name, *MODELS[name])
    liveness = analyse(capture(model))
    third = len(liveness.positions) // 3

    for cuts in ((), (third,), (third, 2 * third)):
        positions = [liveness.positions[index] for index in cuts]
        shards = list(cut(liveness, positions, random_pixels(model, 2)))
        for batch in (1, 3):
            inputs = with_samples(model, random_pixels(model, batch, seed=7))
            assert torch.equal(run_shards(shards, inputs), run_whole(whole_module(model), *inputs)[0])


def test_an_input_crosses_the_cuts_before_its_last_use_by_its_own_name() -> None:
    liveness = analyse(capture(loaded("masked", *MODELS["masked"])))

    assert [node.name for node in liveness.inputs] == ["pixels", "mask"]
    before = next(index for index, position in enumerate(liveness.positions) if liveness.inputs[1] not in position.live)
    assert before > 0
    assert all(liveness.inputs[1] in position.live for position in liveness.positions[:before])


def test_only_pictures_are_normalised() -> None:
    model = loaded("siamese", 32, ("reference=picture",))
    pixels, reference = with_samples(model, random_pixels(model, 2))
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (model.mean, model.std))
    expected = model.module((pixels.float() / 255 - mean) / std, (reference.float() / 255 - mean) / std)

    assert torch.equal(run_whole(whole_module(model), pixels, reference)[0], expected)


def test_tensors_are_rounded_with_the_model() -> None:
    capture(in_precision(loaded("masked", 32, (MASK,)), "bf16"))


def exported(path: Path, module: nn.Module, *examples: torch.Tensor) -> str:
    batch = {0: Dim("batch", min=1, max=64)}
    shapes = (batch,) * len(examples)
    torch.export.save(torch.export.export(module.eval(), examples, dynamic_shapes=shapes, strict=False), path)
    return str(path)


def test_a_program_takes_its_inputs_by_position(tmp_path: Path) -> None:
    path = exported(tmp_path / "two.pt2", Masked(), torch.rand(2, 3, 32, 32), torch.rand(2, 1, 32, 32))

    model = with_inputs(load_model(path), parse_inputs([MASK]))

    assert [node.name for node in analyse(capture(model)).inputs] == ["pixels", "mask"]


@pytest.mark.parametrize(
    ("inputs", "message", "kind"),
    [
        ((), r"takes x and mask, and x is the picture: say .* by --input mask=float32\[1,32,32\]$", UsageError),
        (
            ("mask=float32[1,8,8]",),
            r"takes mask as torch.float32 \[1, 32, 32\], not as mask=float32\[1,8,8\]",
            ModelError,
        ),
        (("mask=picture",), r"takes mask as torch.float32 \[1, 32, 32\], not as mask=picture", ModelError),
    ],
)
def test_a_program_says_what_it_takes(
    inputs: tuple[str, ...], message: str, kind: type[ShardlineError], tmp_path: Path
) -> None:
    path = exported(tmp_path / "two.pt2", Masked(), torch.rand(2, 3, 32, 32), torch.rand(2, 1, 32, 32))

    with pytest.raises(kind, match=message):
        with_inputs(load_model(path), parse_inputs(inputs))


def test_a_program_with_a_fixed_batch_of_its_second_input_is_refused(tmp_path: Path) -> None:
    class Fixed(nn.Module):
        def forward(self, x: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
            return x.mean((2, 3)) * table

    shapes = ({0: Dim("batch", min=1, max=64)}, None)
    program = torch.export.export(Fixed(), (torch.rand(2, 3, 8, 8), torch.rand(3)), dynamic_shapes=shapes)
    torch.export.save(program, tmp_path / "x.pt2")

    with pytest.raises(ModelError, match="has the fixed batch 3; export it with a dynamic first dimension"):
        load_model(str(tmp_path / "x.pt2"))


@pytest.mark.parametrize(
    ("name", "inputs", "message"),
    [
        ("masked", (), r"takes x and mask, and x is the picture: .* --input mask=DTYPE\[SHAPE of one instance\]"),
        ("masked", ("x=picture",), "x is the first parameter of services.many_inputs:masked, which is the picture"),
        ("grey", (MASK,), "services.many_inputs:grey takes x: name one of those"),
        ("conditioned", ("vector=float32[6]",), "takes x, vector and kind"),
    ],
)
def test_inputs_that_forward_does_not_take_or_lacks(name: str, inputs: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        loaded(name, 32, inputs)


@pytest.mark.parametrize("inputs", [("mask=float32[3,5]",), ("mask=int64[1,32,32]",)])
def test_an_input_that_the_model_cannot_use_is_refused_before_export(inputs: tuple[str, ...]) -> None:
    with pytest.raises(ModelError, match=r"does not run on pictures of 32 x 32 pixels, mode RGB, mask \w+\["):
        capture(loaded("masked", 32, inputs))
