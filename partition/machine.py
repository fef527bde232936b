"""What a measured time depends on beside the program: the processor, the threads, torch."""

import platform
from pathlib import Path

import torch

from shardline.partition.threads import available_cpus


def describe_machine(device: torch.device) -> dict[str, str | int]:
    """What must be equal for a time measured on `device` to hold again."""
    return {
        "processor": _gpu(device) if device.type == "cuda" else processor(),
        "cpus": available_cpus(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def processor() -> str:
    """The CPU's model as Linux names it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _gpu(device: torch.device) -> str:
    return str(torch.cuda.get_device_name(device))
