"""Where a shard computes: the CPU, or the one GPU that its process sees."""

import torch
from torch.export import ExportedProgram
from torch.export.passes import move_to_device_pass

from wire.errors import ModelError

DEVICES = ("auto", "cpu", "cuda")


def choose_device(name: str) -> torch.device:
    """'auto' is the GPU where there is one. On a GPU fp32 stays fp32: TF32, which rounds to ten bits, is switched off.

    Raises:
        ModelError: an unknown name, or 'cuda' and no GPU.
    """
    if name not in DEVICES:
        raise ModelError(f"device {name!r}: allowed are {', '.join(DEVICES)}")
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise ModelError(
            "device cuda: this process sees no GPU; give the container one (--gpu-resource) or choose --device cpu"
        )
    if name == "cpu" or not found:
        return torch.device("cpu")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda")


def move(program: ExportedProgram, device: torch.device) -> ExportedProgram:
    """The program with its weights, constants and burnt-in devices on `device`; a program is captured on the CPU."""
    return program if device.type == "cpu" else move_to_device_pass(program, device)
