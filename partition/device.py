"""Devices and threads: choose a CPU or GPU, count the CPUs, describe the machine that times are measured on.

A GPU is chosen by its index (`cuda:1`) or, as MIG slices are, by its UUID.
"""

import os
import platform
import re
from collections.abc import Callable
from pathlib import Path

import torch
from torch.export import ExportedProgram
from torch.export.passes import move_to_device_pass

from shardline.wire.errors import UsageError

DEVICES = "auto, cpu, cuda, cuda:N or the UUID of a GPU or of a MIG slice"
CPU = torch.device("cpu")

Module = Callable[..., object]

_INDEX = re.compile(r"cuda:(\d{1,3})")
_UUID = re.compile(r"(GPU|MIG)-[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_VISIBLE = "CUDA_VISIBLE_DEVICES"


def is_device(name: str) -> bool:
    """True for a well-formed device name. `choose_device` checks that the device exists."""
    return name in {"auto", "cpu", "cuda"} or bool(_INDEX.fullmatch(name) or _UUID.fullmatch(name))


def choose_device(name: str) -> torch.device:
    """Choose a torch device by its name; 'auto' is the GPU where there is one.

    On a GPU fp32 stays fp32: TF32, which rounds to ten bits, is switched off. A UUID becomes CUDA_VISIBLE_DEVICES,
    which CUDA reads when it starts: nothing may have used a GPU before.

    Raises:
        UsageError: an unknown name, or a GPU that does not exist.
    """
    if not is_device(name):
        raise UsageError(f"device {name!r}: allowed are {DEVICES}")
    if name == "cpu":
        return CPU
    if _UUID.fullmatch(name):
        _show_only(name)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto" and not count:
        return CPU
    numbered = _INDEX.fullmatch(name)
    index = int(numbered[1]) if numbered else 0
    if index >= count:
        found = f"{count} GPUs, the last is cuda:{count - 1}" if count else "no GPU"
        raise UsageError(
            f"device {name}: this process sees {found}; give its container one (--gpu-resource) or choose --device cpu"
        )
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda", index)


def _show_only(uuid: str) -> None:
    if torch.cuda.is_initialized() and os.environ.get(_VISIBLE) != uuid:
        raise UsageError(f"device {uuid}: CUDA is initialised already; set {_VISIBLE}={uuid} before the process starts")
    os.environ[_VISIBLE] = uuid


def bound_memory(device: torch.device, limit_bytes: int) -> None:
    """Limit the GPU memory that torch may allocate, so that a shard that needs more fails and its neighbours do not.

    Raises:
        UsageError: the CPU's memory is bounded by its container, or the GPU has less.
    """
    if device.type != "cuda":
        raise UsageError("--device_memory_bytes is for a GPU; on the CPU the container's memory limit holds")
    total = torch.cuda.get_device_properties(device).total_memory
    if not 0 < limit_bytes <= total:
        raise UsageError(f"--device_memory_bytes {limit_bytes}: the GPU has {total}; allowed are 1 to {total}")
    torch.cuda.set_per_process_memory_fraction(limit_bytes / total, device)


def memory_bytes(device: torch.device) -> int:
    """Peak of the GPU memory that torch has reserved."""
    return torch.cuda.max_memory_reserved(device)


def gpu_architecture(device: torch.device) -> str | None:
    """A GPU's compute capability, such as 'sm_90'; None on the CPU."""
    if device.type != "cuda":
        return None
    major, minor = torch.cuda.get_device_capability(device)
    return f"sm_{major}{minor}"


def move(program: ExportedProgram, device: torch.device) -> ExportedProgram:
    """Move a program's weights, constants and device arguments to `device`; a program is captured on the CPU."""
    return program if device.type == "cpu" else move_to_device_pass(program, device)


def use_threads(count: int | None = None) -> int:
    """Set torch's threads to `count`, by default to the CPUs that this process may use, and return their number."""
    torch.set_num_threads(count or available_cpus())
    return torch.get_num_threads()


def available_cpus() -> int:
    """Number of CPUs that this process may use, at least 1.

    It is the smallest of the affinity mask, the cgroup's quota (v2 cpu.max, v1 cfs quota) and OMP_NUM_THREADS.
    """
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    limits = [cpus, _cgroup_cpus() or cpus, int(asked) if asked.isdecimal() else cpus]
    return max(1, int(min(limits)))


def _cgroup_cpus() -> float | None:
    root = Path("/sys/fs/cgroup")
    try:
        limit, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            limit = (root / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    return None if limit in {"max", "-1"} else float(limit) / float(period)


def describe_machine(device: torch.device) -> dict[str, str | int]:
    """Describe everything but the program that a time measured on `device` depends on."""
    return {
        "processor": _gpu(device) if device.type == "cuda" else processor(),
        "cpus": available_cpus(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def processor() -> str:
    """Model name of the CPU as Linux reports it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _gpu(device: torch.device) -> str:
    return str(torch.cuda.get_device_name(device))
