"""The machine and the versions that a result belongs to."""

import os
import platform
import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

_PACKAGES = ("torch", "torchvision", "kserve", "numpy", "pillow", "aiohttp", "uvicorn", "uvloop")
_BF16_FLAGS = frozenset({"amx_bf16", "avx512_bf16"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    cpu: str
    cpus: int  # that this process may use
    memory_gib: float
    flags: tuple[str, ...]  # of those that decide which kernels run
    system: str

    @property
    def slug(self) -> str:
        """For a file's name: amd-epyc-7b13-2cpu."""
        words = re.sub(r"\(.*?\)|@.*|\b\d+-core\b|\bprocessor\b|\bcpu\b", " ", self.cpu.lower())
        return "-".join(re.findall(r"[a-z0-9]+", words)) + f"-{self.cpus}cpu"

    @property
    def has_bf16(self) -> bool:
        """Does the CPU multiply in bfloat16? Without AMX or AVX512-BF16 it is emulated, slower than fp32."""
        return not _BF16_FLAGS.isdisjoint(self.flags)


def this_machine() -> Hardware:
    flags = _cpuinfo("flags").split()
    return Hardware(
        cpu=_cpuinfo("model name") or platform.processor() or platform.machine(),
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_gib=round(psutil.virtual_memory().total / 1024**3, 1),
        flags=tuple(sorted(flag for flag in flags if flag.startswith(("amx", "avx", "fma")))),
        system=f"{platform.system()} {platform.release()}",
    )


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _cpuinfo(key: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")
