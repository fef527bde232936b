"""Capture an nn.Module as an exported program: uint8 pixels in, dynamic batch, functional ATen operations.

`torch.export` is the one way into the system. The program is functionalised without decomposing anything
(`run_decompositions({})`): no in-place operation aliases across a cut, and every kernel that eager PyTorch runs is run
with the same arguments, so that the whole equals the user's module to the bit. That is checked here, not assumed.
"""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch.export import Dim, ExportedProgram
from torch.utils._pytree import tree_leaves

from shardline.partition.compare import tensor_difference
from shardline.partition.program import DTYPES, MAX_BATCH, one_line, runnable
from shardline.wire.errors import ModelError

if TYPE_CHECKING:
    from shardline.partition.models import Model

_EXAMPLE_BATCH = 2  # torch.export specialises on 0 and 1


class Flat(torch.nn.Module):
    """Wrapper of `model` that returns its outputs, however nested, as one flat tuple.

    An archive cannot hold the class of a named tuple.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model
        self.training = False  # not .eval(): a module out of a .pt2 file refuses it

    def outputs(self, pixels: torch.Tensor) -> tuple[object, ...]:
        """Run the model on [batch, channels, height, width], uint8 or normalised float32, and flatten its outputs."""
        return tuple(tree_leaves(self.model(pixels)))

    def forward(self, pixels: torch.Tensor) -> tuple[object, ...]:
        """Run the model on uint8 [batch, channels, height, width]; returns the flat outputs."""
        return self.outputs(pixels)


class Pixels(Flat):
    """Wrapper of `model` that normalises uint8 [batch, channels, h, w] as (pixels / 255 - mean) / std first."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, model: torch.nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(model)
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=True)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=True)

    def normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalise uint8 [batch, channels, height, width] to float32 of the same shape."""
        return (pixels.to(torch.float32) / 255 - self.mean) / self.std

    def forward(self, pixels: torch.Tensor) -> tuple[object, ...]:
        """Normalise and run the model on uint8 [batch, channels, height, width]; returns the flat outputs."""
        return self.outputs(self.normalised(pixels))


def whole_module(model: "Model") -> torch.nn.Module:
    """Wrap the user's model with its normalisation in front; the whole must equal this module."""
    if isinstance(model.module, Flat):
        return model.module
    return Flat(model.module) if model.takes_pixels else Pixels(model.module, model.mean, model.std)


def random_pixels(model: "Model", batch: int, seed: int = 0) -> torch.Tensor:
    """Random pixels of the model's size, uint8 [batch, channels, height, width], the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, model.picture.channels, model.picture.height, model.picture.width)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def capture(model: "Model") -> ExportedProgram:
    """Export the whole and check it against the module itself, to the bit, at batches 1 to 3.

    Raises:
        ModelError: torch.export refuses the model, the batch is not dynamic, an output is no tensor, or the program
            does not give what the module gives.
    """
    module = whole_module(model)
    program = _export(module, random_pixels(model, _EXAMPLE_BATCH), model.reference)
    _remove_checks(program)
    _pin_factories(program)
    _check_outputs(program, model.reference)
    _check_equal(module, program, model)
    return program


def _export(module: torch.nn.Module, pixels: torch.Tensor, reference: str) -> ExportedProgram:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch warns about its own internals
        try:
            program: ExportedProgram = torch.export.export(
                module, (pixels,), dynamic_shapes=({0: Dim("batch", min=1, max=MAX_BATCH)},), strict=False
            )
            functional: ExportedProgram = program.run_decompositions({})
        except Exception as exc:  # whatever the user's own forward raises comes through here
            raise ModelError(
                f"{reference}: torch.export does not take it with a dynamic batch: {one_line(exc)}"
            ) from exc
    return functional


def _remove_checks(program: ExportedProgram) -> None:
    """Drop operations that only assert: they hold no value that could cross a cut."""
    for node in reversed(program.graph.nodes):
        if node.op == "call_function" and not node.users and "_assert" in str(node.target):
            program.graph.erase_node(node)


_FACTORIES = {
    torch.ops.aten.new_zeros.default: torch.ops.aten.zeros.default,
    torch.ops.aten.new_ones.default: torch.ops.aten.ones.default,
    torch.ops.aten.new_empty.default: torch.ops.aten.zeros.default,
}


def _pin_factories(program: ExportedProgram) -> None:
    """`x.new_zeros(size)` -> `zeros(size)`: it needs x's dtype and device, not its data.

    Attention masks are made so; freed of x they are constants that each shard makes for itself.
    """
    for node in list(program.graph.nodes):
        factory = _FACTORIES.get(node.target) if node.op == "call_function" else None
        if factory is None:
            continue
        value = node.meta["val"]
        with program.graph.inserting_before(node):
            pinned = program.graph.call_function(
                factory, (node.args[1],), {"dtype": value.dtype, "device": value.device}
            )
        pinned.meta = dict(node.meta)
        node.replace_all_uses_with(pinned)
        program.graph.erase_node(node)
    program.graph.lint()
    program.graph_module.recompile()


def _check_outputs(program: ExportedProgram, reference: str) -> None:
    if program.graph_signature.buffers_to_mutate:
        raise ModelError(f"{reference} changes its own buffers when it runs; a shard must be stateless: call .eval()")
    output = next(node for node in program.graph.nodes if node.op == "output")
    for value in output.args[0]:
        if not isinstance(value, torch.fx.Node) or not isinstance(value.meta.get("val"), torch.Tensor):
            raise ModelError(f"{reference} gives an output that is no tensor ({value}); return tensors only")
        if value.meta["val"].dtype not in DTYPES:
            raise ModelError(f"{reference} gives an output of {value.meta['val'].dtype}; return real numbers")


def run_whole(module: torch.nn.Module, pixels: torch.Tensor) -> list[torch.Tensor]:
    """Run the user's module, uncut, on uint8 [batch, channels, height, width]: its outputs, flattened.

    Without the fused kernel that `torch.nn.MultiheadAttention` takes outside of training: it rounds otherwise, and
    torch.export never traces it.
    """
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.inference_mode():
            return list(tree_leaves(module(pixels)))
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


def _check_equal(module: torch.nn.Module, program: ExportedProgram, model: "Model") -> None:
    exported = runnable(program)
    for batch in (1, 2, 3):
        pixels = random_pixels(model, batch, seed=batch)
        for left, right in zip(run_whole(module, pixels), run_whole(exported, pixels), strict=True):
            difference = tensor_difference(left, right)
            if difference:
                raise ModelError(
                    f"{model.reference}: the exported program differs from the module by {difference} at batch "
                    f"{batch}; is its forward random, or does it depend on the batch?"
                )
