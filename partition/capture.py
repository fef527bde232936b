"""Capture an nn.Module as an exported program: uint8 pixels in, dynamic batch, functional ATen operations.

`torch.export` is the one way into the system. The program is functionalised without decomposing anything
(`run_decompositions({})`): no in-place operation aliases across a cut, and every kernel that eager PyTorch runs is run
with the same arguments, so that the whole equals the user's module to the bit. That is checked here, not assumed.
"""

import itertools
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any

import torch
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule, Node
from torch.fx.experimental.symbolic_shapes import free_unbacked_symbols
from torch.utils._pytree import tree_leaves

from shardline.partition.archive import is_plain_path, plain_path
from shardline.partition.compare import tensor_difference
from shardline.partition.guard import converting, users_code
from shardline.partition.liveness import size_at
from shardline.partition.program import DTYPES, MAX_BATCH, input_nodes, runnable
from shardline.partition.sampling import sample_inputs
from shardline.storage.bundle import InputSpec
from shardline.wire.errors import ModelError
from shardline.wire.frame import named_dtype

if TYPE_CHECKING:
    from shardline.partition.models import Model

_EXAMPLE_BATCH = 2  # torch.export specialises on 0 and 1


def positional_names(module: torch.nn.Module) -> set[str]:
    """Names of the inputs that a module takes by position alone: those of an exported program's own signature."""
    spec = getattr(module, "_in_spec", None)
    if not isinstance(module, GraphModule) or spec is None:
        return set()
    count = len(spec.child(0).children())
    return set(list(signature(module.forward).parameters)[:count])


class Flat(torch.nn.Module):
    """Wrapper of `model` that returns its outputs, however nested, as one flat tuple.

    An archive cannot hold the class of a named tuple.
    """

    def __init__(self, model: torch.nn.Module, inputs: Sequence[InputSpec] = ()) -> None:
        super().__init__()
        self.model = model
        self.training = False  # not .eval(): a module out of a .pt2 file refuses it
        self._inputs = tuple(inputs)
        self._by_name = {spec.name for spec in inputs} - positional_names(model)

    def outputs(self, pixels: torch.Tensor, *inputs: torch.Tensor) -> tuple[object, ...]:
        """Run the model on [batch, channels, height, width], uint8 or normalised float32, and flatten its outputs.

        Args:
            inputs: the model's further inputs, [batch, …] each.
        """
        named = {spec.name: value for spec, value in zip(self._inputs, inputs, strict=True)}
        by_position = [value for name, value in named.items() if name not in self._by_name]
        by_name = {name: value for name, value in named.items() if name in self._by_name}
        return tuple(tree_leaves(self.model(pixels, *by_position, **by_name)))

    def forward(self, pixels: torch.Tensor, *inputs: torch.Tensor) -> tuple[object, ...]:
        """Run the model on uint8 [batch, channels, height, width] and further inputs; returns the flat outputs."""
        return self.outputs(pixels, *inputs)


class Pixels(Flat):
    """Wrapper of `model` that first normalises uint8 [batch, channels, height, width] as (pixels / 255 - mean) / std.

    Further inputs are normalised where they are pictures, too.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self, model: torch.nn.Module, mean: Sequence[float], std: Sequence[float], inputs: Sequence[InputSpec] = ()
    ) -> None:
        super().__init__(model, inputs)
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=True)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=True)

    def normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalise uint8 [batch, channels, height, width] to float32 of the same shape."""
        return (pixels.to(torch.float32) / 255 - self.mean) / self.std

    def prepared(self, pixels: torch.Tensor, *inputs: torch.Tensor) -> list[torch.Tensor]:
        """Normalise the pictures among the inputs, [batch, …] each, and leave the others as they are."""
        others = zip(inputs, self._inputs, strict=True)
        return [
            self.normalised(pixels),
            *(self.normalised(value) if spec.kind == "picture" else value for value, spec in others),
        ]

    def forward(self, pixels: torch.Tensor, *inputs: torch.Tensor) -> tuple[object, ...]:
        """Normalise and run the model on uint8 [batch, channels, height, width] and further inputs; flat outputs."""
        return self.outputs(*self.prepared(pixels, *inputs))


def whole_module(model: "Model") -> torch.nn.Module:
    """Wrap the user's model with its normalisation in front; the whole must equal this module."""
    if isinstance(model.module, Flat):
        return model.module
    if model.takes_pixels:
        return Flat(model.module, model.inputs)
    return Pixels(model.module, model.mean, model.std, model.inputs)


def random_pixels(model: "Model", batch: int, seed: int = 0) -> torch.Tensor:
    """Random pixels of the model's size, uint8 [batch, channels, height, width], the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, *model.picture.shape), dtype=torch.uint8, generator=generator)


def with_samples(model: "Model", pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Inputs to run a model's module with: pixels, uint8 [batch, channels, h, w], and samples [batch, …] of others."""
    types = [(named_dtype(spec.dtype), spec.shape) for spec in model.inputs]
    return pixels, *map(torch.from_numpy, sample_inputs(pixels.numpy(), types))


def capture(model: "Model") -> ExportedProgram:
    """Export the whole and check it against the module itself, to the bit, at batches 1 to 3.

    Raises:
        ModelError: torch.export refuses the model, the batch is not dynamic, an output is no tensor, or the program
            does not give what the module gives.
    """
    module = whole_module(model)
    _check_runs(module, model)
    program = _export(module, with_samples(model, random_pixels(model, _EXAMPLE_BATCH)), model.reference)
    _name_inputs(program, [spec.name for spec in model.inputs])
    _remove_checks(program)
    _pin_factories(program)
    _plain_names(program)
    _check_outputs(program, model.reference)
    _check_equal(module, program, model)
    return program


def _check_runs(module: torch.nn.Module, model: "Model") -> None:
    """
    Raises:
        ModelError: the module does not run on its inputs, whatever torch.export says of it.
    """
    with running(model):
        run_whole(module, *with_samples(model, random_pixels(model, _EXAMPLE_BATCH)))


def running(model: "Model") -> AbstractContextManager[None]:
    """Guard of a block that runs a model's forward on inputs of the sizes that it was given.

    The block raises:
        ModelError: the forward fails; the message has the sizes.
    """
    picture = model.picture
    others = "".join(f", {spec.name} {spec.type_text}" for spec in model.inputs)
    return users_code(
        f"{model.reference} does not run on pictures of {picture.height} x {picture.width} pixels, mode "
        f"{picture.mode}{others}: it",
        "; give another --size, --mode or --input",
    )


def _export(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], reference: str) -> ExportedProgram:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch warns about its own internals
        with converting(f"{reference}: torch.export does not take it with a dynamic batch"):
            program: ExportedProgram = torch.export.export(
                module, inputs, dynamic_shapes=_dynamic_shapes(len(inputs)), strict=False
            )
            functional: ExportedProgram = program.run_decompositions({})
    return functional


def _dynamic_shapes(count: int) -> tuple[Any, ...]:
    """Shapes for the forward of `Flat`: the batch of the pixels, and that of each further input, is dynamic."""
    batch = {0: Dim("batch", min=1, max=MAX_BATCH)}
    return (batch,) if count == 1 else (batch, (batch,) * (count - 1))


def _name_inputs(program: ExportedProgram, names: Sequence[str]) -> None:
    """Name the further inputs' nodes as the model's forward does; a node that has such a name gets another."""
    taken = {node.name: node for node in program.graph.nodes}
    for node, name in zip(input_nodes(program)[1:], names, strict=True):
        if name in taken and taken[name] is not node:
            free = next(other for other in (f"{name}_{count}" for count in itertools.count()) if other not in taken)
            taken[free] = taken.pop(name)
            _rename(program, taken[free], free)
        taken[name] = taken.pop(node.name)
        _rename(program, node, name)
    program.graph_module.recompile()


def _rename(program: ExportedProgram, node: Node, name: str) -> None:
    program.graph_signature.replace_all_uses(node.name, name)
    node.name = name
    if node.op == "placeholder":
        node.target = name


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
        if free_unbacked_symbols(value.meta["val"]):
            raise ModelError(
                f"{reference} gives an output of shape {list(value.meta['val'].shape)}, whose size depends on the "
                "pixels' values: return a fixed number of rows for each picture, e.g. by topk or scores of 0"
            )


def run_whole(module: torch.nn.Module, pixels: torch.Tensor, *inputs: torch.Tensor) -> list[torch.Tensor]:
    """Run the user's module, uncut, on uint8 [batch, channels, height, width] and further inputs: its flat outputs.

    Without the fused kernel that `torch.nn.MultiheadAttention` takes outside of training: it rounds otherwise, and
    torch.export never traces it.
    """
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.inference_mode():
            return list(tree_leaves(module(pixels, *inputs)))
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


def _check_equal(module: torch.nn.Module, program: ExportedProgram, model: "Model") -> None:
    exported = runnable(program)
    shapes = _output_shapes(program)
    for batch in (1, 2, 3):
        inputs = with_samples(model, random_pixels(model, batch, seed=batch))
        with users_code(f"{model.reference}: at batch {batch} the model"):
            expected = run_whole(module, *inputs)
        _check_shapes([value.shape for value in expected], [shape(batch) for shape in shapes], batch, model.reference)
        for left, right in zip(expected, run_whole(exported, *inputs), strict=True):
            difference = tensor_difference(left, right)
            if difference and left.is_floating_point() and left.isnan().any():
                raise ModelError(f"{model.reference} gives NaN for random pixels: {broken_weights(module)}")
            if difference:
                raise ModelError(
                    f"{model.reference}: the exported program differs from the module by {difference} at batch "
                    f"{batch}; is its forward random, or does it depend on the batch?"
                )


def _output_shapes(program: ExportedProgram) -> list[Callable[[int], tuple[int, ...]]]:
    """Functions from a batch size to the shape of each output."""
    output = next(node for node in program.graph.nodes if node.op == "output")
    return [partial(_shape_at, value.meta["val"]) for value in output.args[0]]


def _shape_at(value: torch.Tensor, batch: int) -> tuple[int, ...]:
    return tuple(size_at(dim, batch) for dim in value.shape)


def _check_shapes(found: Sequence[torch.Size], expected: Sequence[tuple[int, ...]], batch: int, reference: str) -> None:
    for shape, wanted in zip(found, expected, strict=True):
        if tuple(shape) != wanted:
            why = "the output has no batch" if len(shape) < len(wanted) else "the output has another shape"
            raise ModelError(
                f"{reference}: at batch {batch} {why}: it is {list(shape)} and must be {list(wanted)}; does a "
                "squeeze() without a dimension, or an if over the size, remove it?"
            )


def broken_weights(module: torch.nn.Module) -> str:
    """Name the weights of a module that hold NaN, for a message."""
    broken = [name for name, value in module.state_dict().items() if value.is_floating_point() and value.isnan().any()]
    names = ", ".join(name.removeprefix("model.") for name in broken[:4]) + (", …" if len(broken) > 4 else "")
    return f"its weights {names} hold NaN" if broken else "no weight holds NaN, so its forward makes it"


def _plain_names(program: ExportedProgram) -> None:
    """Rename the weights that no archive may hold, such as `branches.k=3.weight` of a ModuleDict with free keys."""
    known = {spec.target for spec in program.graph_signature.input_specs if spec.target is not None}
    for spec in program.graph_signature.input_specs:
        if spec.target is None or is_plain_path(spec.target):
            continue
        plain = plain_path(spec.target)
        while plain in known:
            plain += "_"
        known.add(plain)
        for tensors in (program.state_dict, program.constants):
            if spec.target in tensors:
                tensors[plain] = tensors.pop(spec.target)
        spec.target = plain
    for entry in program.module_call_graph:
        entry.fqn = plain_path(entry.fqn)
    for node in program.graph.nodes:
        if modules := node.meta.get("nn_module_stack"):
            node.meta["nn_module_stack"] = {
                _plain_call(key): (_plain_call(path), kind) for key, (path, kind) in modules.items()
            }


def _plain_call(path: str) -> str:
    """Plain name of a module's call: torch marks the second call of a module by `@1`."""
    return "@".join(plain_path(name) for name in path.split("@"))
