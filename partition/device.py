"""Where a shard computes, the CPU or one GPU, and how tensors get there and back.

A GPU is chosen by its place (`cuda:1`) or, as MIG slices are, by its UUID. On it a shard has one stream of its own:
the copy in, the program and the copy out are queued behind each other, through pinned host memory, and the host waits
once, at the end.
"""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import torch
from torch.export import ExportedProgram
from torch.export.passes import move_to_device_pass
from torch.utils._pytree import tree_leaves

from shardline.partition.layout import as_numpy
from shardline.storage.bundle import TensorSpec
from shardline.wire.errors import ModelError
from shardline.wire.frame import Array

DEVICES = "auto, cpu, cuda, cuda:N or the UUID of a GPU or of a MIG slice"
CPU = torch.device("cpu")

Module = Callable[..., object]

_PLACE = re.compile(r"cuda:(\d{1,3})")
_UUID = re.compile(r"(GPU|MIG)-[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_VISIBLE = "CUDA_VISIBLE_DEVICES"


def is_device(name: str) -> bool:
    """Is this how a device may be named? Whether it is there, `choose_device` says."""
    return name in {"auto", "cpu", "cuda"} or bool(_PLACE.fullmatch(name) or _UUID.fullmatch(name))


def choose_device(name: str) -> torch.device:
    """'auto' is the GPU where there is one. On a GPU fp32 stays fp32: TF32, which rounds to ten bits, is switched off.

    A UUID becomes CUDA_VISIBLE_DEVICES, which CUDA reads when it starts: nothing may have asked for a GPU before.

    Raises:
        ModelError: an unknown name, or a GPU that is not there.
    """
    if not is_device(name):
        raise ModelError(f"device {name!r}: allowed are {DEVICES}")
    if name == "cpu":
        return CPU
    if _UUID.fullmatch(name):
        _show_only(name)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto" and not count:
        return CPU
    place = _PLACE.fullmatch(name)
    index = int(place[1]) if place else 0
    if index >= count:
        found = f"{count} GPUs, the last is cuda:{count - 1}" if count else "no GPU"
        raise ModelError(
            f"device {name}: this process sees {found}; give the container one (--gpu-resource) or choose --device cpu"
        )
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda", index)


def _show_only(uuid: str) -> None:
    if torch.cuda.is_initialized() and os.environ.get(_VISIBLE) != uuid:
        raise ModelError(f"device {uuid}: CUDA runs already; set {_VISIBLE}={uuid} before the process starts")
    os.environ[_VISIBLE] = uuid


def bound_memory(device: torch.device, limit_bytes: int) -> None:
    """Let torch take at most this much of the GPU's memory: a shard that needs more fails, and its neighbours do not.

    Raises:
        ModelError: the CPU's memory is bounded by its container, or the GPU has less.
    """
    if device.type != "cuda":
        raise ModelError("--device_memory_bytes is for a GPU; on the CPU the container's memory limit holds")
    total = torch.cuda.get_device_properties(device).total_memory
    if not 0 < limit_bytes <= total:
        raise ModelError(f"--device_memory_bytes {limit_bytes}: the GPU has {total}; allowed are 1 to {total}")
    torch.cuda.set_per_process_memory_fraction(limit_bytes / total, device)


def memory_bytes(device: torch.device) -> int:
    """The most memory of a GPU that torch has held at once."""
    return torch.cuda.max_memory_reserved(device)


def gpu_architecture(device: torch.device) -> str | None:
    """'sm_90', None on the CPU."""
    if device.type != "cuda":
        return None
    major, minor = torch.cuda.get_device_capability(device)
    return f"sm_{major}{minor}"


def move(program: ExportedProgram, device: torch.device) -> ExportedProgram:
    """The program with its weights, constants and burnt-in devices on `device`; a program is captured on the CPU."""
    return program if device.type == "cpu" else move_to_device_pass(program, device)


class Lane(Protocol):
    """The way of a shard's tensors to its device and back."""

    pinned: bool  # whether inputs should lie in pinned memory

    def run(self, module: Module, inputs: Sequence[torch.Tensor], specs: Sequence[TensorSpec]) -> list[Array]:
        """Run the module on tensors of the host; -> the arrays that a frame carries, one for each spec."""


def lane_to(device: torch.device) -> Lane:
    return _CpuLane() if device.type == "cpu" else _GpuLane(device)


class _CpuLane:
    pinned = False

    def run(self, module: Module, inputs: Sequence[torch.Tensor], specs: Sequence[TensorSpec]) -> list[Array]:
        with torch.inference_mode():
            return [as_numpy(value) for value in _packed(module(*inputs), specs)]


class _GpuLane:
    pinned = True

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)

    def run(self, module: Module, inputs: Sequence[torch.Tensor], specs: Sequence[TensorSpec]) -> list[Array]:
        with torch.inference_mode(), torch.cuda.stream(self._stream):
            there = [value.to(self._device, non_blocking=True) for value in inputs]
            here = [
                torch.empty(value.shape, dtype=value.dtype, pin_memory=True).copy_(value, non_blocking=True)
                for value in _packed(module(*there), specs)
            ]
            self._stream.synchronize()
        return [as_numpy(value) for value in here]


def _packed(values: object, specs: Sequence[TensorSpec]) -> Iterable[torch.Tensor]:
    """The program's outputs, dimensions in the order of the whole's memory, without holes."""
    for value, spec in zip(tree_leaves(values), specs, strict=True):
        yield value.permute(spec.dim_order).contiguous()
