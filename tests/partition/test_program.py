"""Helpers for exported programs."""

from pathlib import Path

import torch

from shardline.partition.capture import capture, random_pixels, run_whole
from shardline.partition.liveness import analyse
from shardline.partition.models import load_model
from shardline.partition.program import (
    DTYPES,
    import_root,
    lifted_arguments,
    node_values,
    one_line,
    runnable,
    safetensors_dtype,
)


def test_values_of_nodes_are_those_that_the_program_computes() -> None:
    model = load_model("services.small_models:residual", size=32)
    program = capture(model)
    pixels = random_pixels(model, 2)
    [output] = analyse(program).outputs
    [expected] = run_whole(runnable(program), pixels)

    values = node_values(program, pixels, [output.name, "pixels"])

    assert torch.equal(values[output.name], expected)
    assert torch.equal(values["pixels"], pixels)
    assert len(lifted_arguments(program, [pixels])) == len(program.graph_signature.input_specs)


def test_every_dtype_of_a_frame_has_its_own_name() -> None:
    assert {safetensors_dtype(dtype) for dtype in DTYPES} == set(DTYPES.values())
    assert len(set(DTYPES.values())) == len(DTYPES)


def test_errors_of_others_are_one_short_line() -> None:
    assert one_line(ValueError("first\n  second")) == "first second"
    assert one_line(KeyError()) == "KeyError"
    assert len(one_line(ValueError("x" * 1000))) == 300


def test_child_processes_import_this_shardline() -> None:
    assert (Path(import_root()) / "shardline" / "__init__.py").is_file()
