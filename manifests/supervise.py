"""Process that runs a chain on this machine for `up`: `python -m shardline.manifests.supervise SETTINGS`, and no user.

It stands between the command and the servers, in a process group of its own: when the command is stopped (Ctrl-Z), or
blocked by a terminal or a pipe that nobody reads, the servers are still supervised, and their logs are still read. It
writes events to its stdout, one JSON array a line; lines of logs that do not fit any more are dropped and counted. The
end of its stdin is the end of the command: then it stops the chain and removes the folder of the run.
"""

import asyncio
import json
import os
import select
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from shardline.manifests.graph import parse_spec
from shardline.manifests.launches import LaunchPlan, hold, plan_launches, shard_folder
from shardline.manifests.options import RenderOptions
from shardline.manifests.processes import HOST, Console, Supervisor
from shardline.manifests.proxy import ServiceProxy
from shardline.manifests.render import render
from shardline.manifests.runs import record_run
from shardline.manifests.workloads import ChainSpec, chain_of, read_chain, with_urls
from shardline.storage.bundle import BUNDLE_FILE
from shardline.storage.bundle_folder import open_bundle
from shardline.storage.initializer import fetch
from shardline.storage.user_cache import RUN_PREFIX, in_use, remove_unused_runs
from shardline.wire.errors import FileError, ManifestError, ShardlineError, UsageError
from shardline.wire.limits import MIB
from shardline.wire.typed import from_json

KSERVE_ROUTER_PORT = 8080  # pkg/constants RouterPort
_BUFFER_BYTES = MIB  # of events that the command has not read yet
_LAST_EVENTS_S = 1.0  # how long the command has to read the last ones
_STDIN = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """Arguments of `shardline.manifests.local.up`, as its command passes them on."""

    path: str
    port: int
    host: str
    router: str | None
    threads: int | None
    grace_s: float


class EventConsole(Console):
    """Console of the command at the other end of a pipe, which never makes its caller wait."""

    def __init__(self, pipe: int) -> None:
        """`pipe` is a file descriptor to write to."""
        os.set_blocking(pipe, False)
        self._pipe = pipe
        self._pending = bytearray()
        self._dropped = 0

    def log(self, process: str, line: str) -> None:
        if len(self._pending) > _BUFFER_BYTES:
            self._dropped += 1
        else:
            self._send("log", process, line)

    def progress(self, ready: int, total: int, waiting_for: tuple[str, ...]) -> None:
        self._send("progress", ready, total, waiting_for)

    def ready(self, url: str) -> None:
        self._send("ready", url)

    def notice(self, text: str) -> None:
        if len(self._pending) <= 2 * _BUFFER_BYTES:
            self._send("notice", text)

    def failed(self, error: ShardlineError | OSError) -> None:
        """Report the error that ended the chain."""
        if isinstance(error, ShardlineError):
            self._send("failed", type(error).__name__, str(error))
        else:
            self._send("failed", "OSError", error.errno, error.strerror, error.filename)

    def close(self) -> None:
        """Send what is left, if the command reads it within a second."""
        with suppress(OSError):
            while self._pending and select.select([], [self._pipe], [], _LAST_EVENTS_S)[1]:
                self._write()

    def _send(self, *event: object) -> None:
        self._pending += json.dumps(event).encode() + b"\n"
        self._flush()

    def _flush(self) -> None:
        """Write what the pipe takes now, and the rest as soon as it takes more."""
        self._write()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # the chain is not started yet; the next event flushes again
            return
        if self._pending:
            loop.add_writer(self._pipe, self._flush)
        else:
            loop.remove_writer(self._pipe)

    def _write(self) -> None:
        try:
            while self._pending:
                del self._pending[: os.write(self._pipe, self._pending)]
        except BlockingIOError:
            return
        except OSError:  # the command is gone
            self._pending.clear()
        if self._dropped:
            lines, self._dropped = self._dropped, 0
            self._send("notice", f"{lines} lines of the processes' output were dropped, since nobody read them in time")


def run_chain(settings: RunSettings, console: Console) -> None:
    """Run the chain until SIGTERM or the end of stdin; `shardline.manifests.local.up` lists what is raised."""
    router = None if settings.router is None else Path(settings.router)
    chain = find_chain(Path(settings.path))
    _check_router(chain, settings.port, router)
    remove_unused_runs()
    with (
        _open_port(settings.port, settings.host) as front,
        _sigterm_as_ctrl_c(),
        tempfile.TemporaryDirectory(prefix=RUN_PREFIX) as folder,
        in_use(Path(folder)),
    ):
        try:
            if settings.host != HOST:
                console.notice(f"every machine that reaches this one can send requests to port {settings.port}")
            _fetch(chain, Path(folder), console)
            with plan_launches(chain, Path(folder), front=front, router=router, threads=settings.threads) as plan:
                record_run(Path(folder), chain.name, plan, os.getppid())
                asyncio.run(_until_stopped(plan, console, settings.grace_s))
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


def _open_port(port: int, host: str) -> socket.socket:
    try:
        return hold(port, host)
    except OSError as exc:
        raise ManifestError(f"port {port} cannot be opened ({exc.strerror}): choose another --port") from exc


def _fetch(chain: ChainSpec, folder: Path, console: Console) -> None:
    for workload in chain.workloads:
        if workload.storage_uri is not None:
            console.notice(f"fetching {workload.storage_uri}")
            fetch(workload.storage_uri, shard_folder(folder, workload))


async def _until_stopped(plan: LaunchPlan, console: Console, grace_s: float) -> None:
    loop = asyncio.get_running_loop()
    stop, hurry = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, lambda: (hurry if stop.is_set() else stop).set())
    loop.add_reader(_STDIN, _at_end_of_stdin, stop)
    changed = asyncio.Event()
    processes = {
        launch.name: Supervisor(launch, console, grace_s=grace_s, hurry=hurry, on_change=changed.set)
        for launch in plan.launches
    }
    services = [
        ServiceProxy(listener, [processes[name] for name in names]) for listener, names in plan.services.items()
    ]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = {launch.name: group.create_task(processes[launch.name].keep_running()) for launch in plan.launches}
            others = [group.create_task(service.keep_running()) for service in services]
            others.append(group.create_task(_announce(list(processes.values()), changed, console, plan.url)))
            await stop.wait()
            console.notice("stopping")
            loop.call_later(grace_s, hurry.set)
            for _, launches in groupby(sorted(plan.launches, key=lambda launch: launch.hop), lambda launch: launch.hop):
                await _cancel([tasks[launch.name] for launch in launches])
            await _cancel(others)
    except BaseExceptionGroup as errors:
        raise _first(errors) from errors


def _at_end_of_stdin(stop: asyncio.Event) -> None:
    if not os.read(_STDIN, 1):
        asyncio.get_running_loop().remove_reader(_STDIN)
        stop.set()


async def _cancel(tasks: Sequence["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chain of the settings, a JSON object, and report its error as the last event; returns the exit code."""
    [text] = sys.argv[1:] if arguments is None else arguments
    console = EventConsole(os.dup(1))
    os.dup2(2, 1)  # what a library prints is no event
    code = 0
    try:
        run_chain(from_json(RunSettings, text, error=UsageError), console)
    except (ShardlineError, OSError) as exc:
        console.failed(exc)
        code = 1
    console.close()
    return code


if __name__ == "__main__":
    sys.exit(main())
