"""Chains that `up` and `serve` run on this machine: their records, and which of their processes are ready."""

import asyncio
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from shardline.manifests.launches import LaunchPlan
from shardline.manifests.processes import answers
from shardline.storage.user_cache import RUN_PREFIX, is_unused
from shardline.wire.typed import from_json

_FILE = "run.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalProcess:
    """Port and readiness path of one process; without a path it is ready when the port is open."""

    port: int
    ready_path: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRun:
    """One chain that runs on this machine; `pid` is that of the command, which stops it all when it is stopped."""

    chain: str
    url: str
    pid: int
    processes: Mapping[str, LocalProcess]


def record_run(folder: Path, chain: str, plan: LaunchPlan, pid: int) -> None:
    """Write the record of a run into its folder, so that `local_runs` in another process finds it."""
    processes = {launch.name: LocalProcess(port=launch.port, ready_path=launch.ready_path) for launch in plan.launches}
    run = LocalRun(chain=chain, url=plan.url, pid=pid, processes=processes)
    (folder / _FILE).write_text(json.dumps(asdict(run)), encoding="utf-8")


def local_runs() -> list[LocalRun]:
    """Find the chains that this user runs, sorted by name; killed runs and damaged records are left out."""
    found = []
    for folder in Path(tempfile.gettempdir()).glob(f"{RUN_PREFIX}*"):
        try:
            if folder.stat().st_uid == os.getuid() and not is_unused(folder):
                found.append(from_json(LocalRun, (folder / _FILE).read_bytes(), error=ValueError))
        except (OSError, ValueError):
            continue  # it ended meanwhile, or still fetches its shards
    return sorted(found, key=lambda run: (run.chain, run.url))


def readiness(run: LocalRun) -> dict[str, bool]:
    """Probe every process of a run once, as a kubelet would."""

    async def probe() -> list[bool]:
        return await asyncio.gather(*(answers(process.port, process.ready_path) for process in run.processes.values()))

    return dict(zip(run.processes, asyncio.run(probe()), strict=True))
