"""Run manifests or a bundle as processes on this machine: the same documents, args and env as in the cluster.

What the cluster adds is added here: the storage initializer's download to /mnt/models (here a folder of the run), the
controller's `--model_name`, `--predictor_host` and `--http_port`, the steps' serviceUrl, a Service in front of
replicas, and restarts with backoff. Processes get the CPU limit as OMP_NUM_THREADS only, since no cgroup enforces it;
memory is not limited.

    up(Path("manifests-out"))       # until Ctrl-C
"""

import asyncio
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from shardline.manifests.graph import parse_spec
from shardline.manifests.launches import LaunchPlan, bind, plan_launches, shard_folder
from shardline.manifests.options import RenderOptions
from shardline.manifests.processes import Console, Supervisor
from shardline.manifests.proxy import ServiceProxy
from shardline.manifests.render import render
from shardline.manifests.runs import record_run
from shardline.manifests.workloads import ChainSpec, chain_of, read_chain, with_urls
from shardline.storage.bundle import BUNDLE_FILE
from shardline.storage.bundle_folder import open_bundle
from shardline.storage.initializer import fetch
from shardline.storage.user_cache import RUN_PREFIX, in_use
from shardline.wire.errors import FileError, ManifestError, UsageError

KSERVE_ROUTER_PORT = 8080  # pkg/constants RouterPort
GRACE_S = 10.0


def up(
    path: Path,
    *,
    port: int = 8080,
    router: Path | None = None,
    console: Console | None = None,
    threads: int | None = None,
    grace_s: float = GRACE_S,
) -> None:
    """Run the documents at `path` until Ctrl-C, SIGTERM or SIGHUP; a second signal kills at once.

    `path` is a file or a folder of documents, or a bundle's folder, which is rendered with the default options first.
    Call it in the main thread, the only one that receives signals.

    Args:
        port: port of the chain. With one stage the transformer listens on it, else the router.
        router: KServe's own router binary in place of `shardline.manifests.router`; it listens on port 8080 only.
        threads: number of threads of each stage; None takes it from the stage's CPU limit.
        grace_s: seconds that processes have to finish their requests before they are killed.

    Raises:
        ManifestError: documents that cannot be run, several chains, a taken port, or a process that exits before it is
            ready.
        BundleError: the bundle is incomplete or altered.
        FileError: the documents or the router do not exist.
        UsageError: a port that KServe's router cannot have.
        StorageError: a shard that cannot be fetched.
    """
    console = console or Console()
    chain = find_chain(path)
    _check_router(chain, port, router)
    _check_port(port)
    with _sigterm_as_ctrl_c(), tempfile.TemporaryDirectory(prefix=RUN_PREFIX) as folder, in_use(Path(folder)):
        try:
            _fetch(chain, Path(folder), console)
            plan = plan_launches(chain, Path(folder), port=port, router=router, threads=threads)
            record_run(Path(folder), chain.name, plan)
            asyncio.run(_until_stopped(plan, console, grace_s))
        except KeyboardInterrupt:
            console.notice("stopped")


def find_chain(path: Path) -> ChainSpec:
    """Read the chain of rendered documents, or render a bundle's folder (or the bundle.json in it).

    Raises:
        BundleError: the bundle is incomplete or altered.
        ManifestError, FileError: see `read_chain`.
    """
    folder = path.parent if path.name == BUNDLE_FILE else path
    if not (folder / BUNDLE_FILE).is_file():
        return read_chain(path)
    options = RenderOptions(storage=folder.resolve().as_uri())
    return chain_of(render(open_bundle(folder), options), folder)


def _check_router(chain: ChainSpec, port: int, router: Path | None) -> None:
    if chain.graph is None:
        return
    if router is None:
        parse_spec(with_urls(chain, dict.fromkeys(chain.model_names, "http://unknown")))
        return
    if not os.access(router, os.X_OK) or router.is_dir():
        raise FileError(f"{router} is not a program: give the path of KServe's router binary with --router")
    if port != KSERVE_ROUTER_PORT:
        raise UsageError(
            f"KServe's router listens on port {KSERVE_ROUTER_PORT} only, but --port is {port}: "
            "leave out --port or --router"
        )


def _check_port(port: int) -> None:
    try:
        bind(port)
    except OSError as exc:
        raise ManifestError(f"port {port} cannot be opened ({exc.strerror}): choose another --port") from exc


def _fetch(chain: ChainSpec, folder: Path, console: Console) -> None:
    for workload in chain.workloads:
        if workload.storage_uri is not None:
            console.notice(f"fetching {workload.storage_uri}")
            fetch(workload.storage_uri, shard_folder(folder, workload))


async def _until_stopped(plan: LaunchPlan, console: Console, grace_s: float) -> None:
    stop, hurry = asyncio.Event(), asyncio.Event()
    _on_signals(lambda: (hurry if stop.is_set() else stop).set())
    changed = asyncio.Event()
    services: list[ServiceProxy] = []

    def on_change() -> None:
        changed.set()
        for service in services:
            service.update()

    processes = {
        launch.name: Supervisor(launch, console, grace_s=grace_s, hurry=hurry, on_change=on_change)
        for launch in plan.launches
    }
    for port, names in plan.services.items():
        services.append(ServiceProxy(port, [processes[name] for name in names]))
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(service.keep_running()) for service in services]
            tasks += [group.create_task(process.keep_running()) for process in processes.values()]
            tasks.append(group.create_task(_announce(list(processes.values()), changed, console, plan.url)))
            await stop.wait()
            console.notice("stopping")
            for task in tasks:
                task.cancel()
    except BaseExceptionGroup as errors:
        raise _first(errors) from errors


async def _announce(processes: list[Supervisor], changed: asyncio.Event, console: Console, url: str) -> None:
    while waiting := tuple(process.name for process in processes if not process.was_ready):
        console.progress(len(processes) - len(waiting), len(processes), waiting)
        changed.clear()
        await changed.wait()
    console.progress(len(processes), len(processes), ())
    console.ready(url)


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Find the first error; later ones come from processes that were stopped because of it."""
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def _on_signals(call: Callable[[], object]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, call)


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """Turn SIGTERM into KeyboardInterrupt, so that the folder is deleted even while shards are being fetched."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
