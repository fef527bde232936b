"""How many threads torch computes with: the CPUs that this process may use."""

import os
from pathlib import Path

import torch


def use_threads(count: int | None = None) -> int:
    """Set torch's threads to `count`, else to the CPUs that this process may use; give back how many."""
    torch.set_num_threads(count or available_cpus())
    return torch.get_num_threads()


def available_cpus() -> int:
    """CPUs that this process may use, at least 1: by affinity, cgroup (v2 cpu.max, v1 cfs quota), OMP_NUM_THREADS."""
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
