"""Run manifests or a bundle as processes on this machine: the same documents, args and env as in the cluster.

What the cluster adds is added here: the storage initializer's download to /mnt/models (here a folder of the run), the
controller's `--model_name`, `--predictor_host` and `--http_port`, the steps' serviceUrl, a Service in front of
replicas, and restarts with backoff. Processes get the CPU limit as OMP_NUM_THREADS only, since no cgroup enforces it;
memory is not limited.

    up(Path("manifests-out"))       # until Ctrl-C

Another process does all of this (`shardline.manifests.supervise`), and this one prints: whatever holds up its output or
itself, the chain goes on.
"""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from shardline.manifests.launches import with_our_packages
from shardline.manifests.processes import HOST, Console, how_it_ended
from shardline.manifests.supervise import RunSettings
from shardline.wire import errors
from shardline.wire.errors import ManifestError
from shardline.wire.text import printable

GRACE_S = 10.0
_LINE_CHARACTERS = 1000  # of a log's line at a time: a stream with room for a page takes it without waiting
_BLOCKED_S = 0.2  # between two looks at a stream that takes nothing


def up(
    path: Path,
    *,
    port: int = 8080,
    host: str = HOST,
    router: Path | None = None,
    console: Console | None = None,
    threads: int | None = None,
    grace_s: float = GRACE_S,
) -> None:
    """Run the documents at `path` until Ctrl-C, SIGTERM or SIGHUP; a second signal kills at once.

    `path` is a file or a folder of documents, or a bundle's folder, which is rendered with the default options first.
    Call it in the main thread, the only one that receives signals. The chain is stopped from the front: the router
    finishes its requests before the stages are stopped.

    Args:
        port: port of the chain. With one stage the transformer listens on it, else the router.
        host: address of the chain: 127.0.0.1, or 0.0.0.0 for all of this machine. The stages are on 127.0.0.1.
        router: KServe's own router binary in place of `shardline.manifests.router`; it listens on port 8080 only.
        threads: number of threads of each stage; None takes it from the stage's CPU limit.
        grace_s: seconds that all processes together have to finish their requests before they are killed.

    Raises:
        ManifestError: documents that cannot be run, several chains, a taken port, or a process that exits before it is
            ready.
        BundleError: the bundle is incomplete or altered.
        FileError: the documents or the router do not exist.
        UsageError: a port that KServe's router cannot have.
        StorageError: a shard that cannot be fetched.
        OSError: the disk of the temporary folder is full.
    """
    settings = RunSettings(
        path=str(path),
        port=port,
        host=host,
        router=None if router is None else str(router),
        threads=threads,
        grace_s=grace_s,
    )
    command = [sys.executable, "-P", "-m", "shardline.manifests.supervise", json.dumps(asdict(settings))]
    with subprocess.Popen(
        command,
        env=with_our_packages(dict(os.environ)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        process_group=0,  # a terminal's Ctrl-C and Ctrl-Z reach this process alone
    ) as process:
        error: Exception | None = None
        assert process.stdin is not None
        with process.stdin, _signals_stop(process):
            error = _show_events(process, console or Console())
            process.wait()
    if error is not None:
        raise error
    if process.returncode not in (0, -signal.SIGTERM):
        raise ManifestError(f"the chain's supervisor {how_it_ended(process.returncode)}: run the command again")


@contextmanager
def _signals_stop(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Pass the signals that end a command on to the supervisor, which stops the chain first."""

    def forward(*_: object) -> None:
        process.terminate()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, forward) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _show_events(process: "subprocess.Popen[bytes]", console: Console) -> Exception | None:
    """Print the supervisor's events until its end; returns the error that ended the chain, if one did."""
    assert process.stdout is not None
    error = None
    is_read = True
    for line in process.stdout:
        if not line.endswith(b"\n"):  # the supervisor ended before the rest was read
            break
        kind, *values = json.loads(line)
        is_read = is_read and _has_room(process)
        if kind == "failed":
            error = _error(*values)
        elif is_read:
            with suppress(OSError):  # nobody can read the output any more; the chain goes on
                _show(console, kind, values)
    return error


def _show(console: Console, kind: str, values: list[Any]) -> None:
    match kind, values:
        case "log", [process, text]:
            for start in range(0, len(text) or 1, _LINE_CHARACTERS):
                console.log(process, printable(text[start : start + _LINE_CHARACTERS]))
        case "progress", [ready, total, waiting]:
            console.progress(ready, total, tuple(waiting))
        case "ready", [url]:
            console.ready(url)
        case "notice", [text]:
            console.notice(printable(text))


def _has_room(process: "subprocess.Popen[bytes]") -> bool:
    """Wait until the streams take a line without waiting; False if the chain ended before."""
    streams = [stream for stream in (sys.stdout, sys.stderr) if _is_file(stream)]
    while len(select.select([], streams, [], _BLOCKED_S)[1]) < len(streams):
        if process.poll() is not None:
            return False
    return True


def _is_file(stream: Any) -> bool:
    try:
        stream.fileno()
    except (OSError, ValueError, AttributeError):
        return False
    return True


def _error(name: str, *values: Any) -> Exception:
    return OSError(*values) if name == "OSError" else vars(errors)[name](*values)
