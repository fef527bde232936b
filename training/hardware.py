"""What to train on, and in which precision: decided by what the machine can do."""

import torch

from shardline.wire.errors import ModelError


def pick_device(name: str | None) -> torch.device:
    """The device of that name; without one a GPU if there is one, else the CPU.

    Raises:
        ModelError: torch has no such device here.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cpu" or (name == "cuda" and torch.cuda.is_available()):
        return torch.device(name)
    raise ModelError(
        f"--device {name!r}: allowed are cpu and, where there is one, cuda: {torch.cuda.device_count()} here"
    )


def is_mixed(device: torch.device) -> bool:
    """Whether bf16 is faster than fp32 here: on a GPU, and on a CPU that has instructions for it."""
    if device.type == "cuda":
        return True
    able = torch.cpu.get_capabilities()
    return bool(able.get("amx_bf16") or able.get("avx512_bf16"))


def mixed(device: torch.device) -> torch.autocast:
    """A context in which convolutions compute in bf16 where that is faster."""
    return torch.autocast(device.type, torch.bfloat16, enabled=is_mixed(device))
