"""Ask a served model about pictures.

    python client/request.py photo.jpg
    python client/request.py photos/ more.png --top 3 --url http://models.example.com/v1/models/resnet50:predict
    python client/request.py photos/ --json > replies.jsonl
    python client/request.py photo.jpg --kserve --namespace vision --name resnet50

Folders are searched for pictures. A picture that is too large for one request is made smaller first. With --kserve the
chain is looked up in the cluster of the kubeconfig, waited for, and asked through an ingress or a port-forward. Exit
codes: 0 all pictures were answered, 1 some failed, 2 wrong usage, 3 the server or the chain cannot be reached.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    # Python puts a script's own folder first; the packages beside that folder are what is wanted
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import argparse
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image

from client.access import read_access
from client.arguments import DEFAULT_TOP, DEFAULT_URL, parse, parser_of
from client.cluster import connect
from client.draw import Progress, Style, Waiting, draw_reply, json_error, json_line, printable
from client.fit import Shape, fit_body
from client.graphs import find_chain
from client.readiness import wait_ready
from client.route import open_route
from client.target import Reply, Target
from wire.errors import ClusterError, PredictorDownError, RequestError, ShardlineError

STDIN = Path("-")
SUFFIXES = (".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one picture: a reply or an error, and the shapes if it had to be made smaller."""

    path: Path
    reply: Reply | None = None
    error: ShardlineError | None = None
    resized: tuple[Shape, Shape] | None = None


def main(argv: Sequence[str] | None = None) -> int:
    """Run with these arguments (None: the process's own) -> the exit code. Wrong options raise SystemExit(2)."""
    options = parse(make_parser(), argv)
    Image.MAX_IMAGE_PIXELS = None  # that guards servers from strangers' pictures; these are the user's own
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    try:
        pictures = find_pictures(options.pictures)
        with open_target(options) as target:
            return _ask_all(target, pictures, options)
    except RequestError as exc:
        _complain(str(exc))
        return 2
    except ClusterError as exc:
        _complain(str(exc))
        return 3
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # whoever reads has enough, as `| head` does; what Python still flushes at its end must go somewhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


@contextmanager
def open_target(options: argparse.Namespace) -> Iterator[Target]:
    """What is asked: the server at --url, or with --kserve a chain in a cluster, once it is ready.

    Raises:
        RequestError: an option's value that is of no use.
        ClusterError: no such chain, or not ready in time; the stage and its reason are named.
    """
    access = read_access(options.token, options.token_file, options.ca_file, insecure=options.insecure)
    settings = {"timeout_s": options.timeout, "retries": options.retries, "access": access}
    headers = dict(options.header)
    if not options.kserve:
        yield Target(options.url or DEFAULT_URL, headers=headers, **settings)
        return
    cluster = connect(options.kubeconfig, options.context)
    chain = find_chain(cluster, options.name, options.namespace or cluster.namespace)
    waiting = Waiting(str(chain), sys.stderr)
    try:
        wait_ready(cluster, chain.name, chain.namespace, options.wait, waiting.show, enough=lambda state: state.serves)
    finally:
        waiting.clear()
    with open_route(cluster, chain, options.ingress) as route:
        yield Target(route.url, headers={**route.headers, **headers}, **settings)


def find_pictures(given: Sequence[Path]) -> list[Path]:
    """Files as they are given, - for stdin, folders as the pictures in them: all below, sorted, hidden ones left out.

    Raises:
        RequestError: one does not exist, or there is no picture at all.
    """
    paths: list[Path] = []
    for path in given:
        if path == STDIN:
            paths.append(path)
            continue
        if not os.path.exists(path):  # noqa: PTH110 - Path.exists raises where a folder may not be looked into
            raise RequestError(f"{path}: no such file or folder")
        paths += _pictures_below(path) if path.is_dir() else [path]
    if not paths:
        raise RequestError(f"no pictures in {', '.join(map(str, given))}: looked for {' '.join(SUFFIXES)}")
    return paths


def _pictures_below(folder: Path) -> list[Path]:
    found: list[Path] = []
    seen: set[str] = set()
    for where, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(where)
        if real in seen:  # a link that leads back up
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(where, name) for name in files if name.lower().endswith(SUFFIXES) and not name.startswith(".")]
    return sorted(found)


def _ask_all(target: Target, paths: Sequence[Path], options: argparse.Namespace) -> int:
    """Ask about every picture, `--jobs` at once, and report in the order of the pictures."""
    parameters = _parameters(options)
    limit_bytes = int(options.limit_mb * 1024**2)
    unreachable = threading.Event()

    def ask(path: Path) -> Outcome:
        if unreachable.is_set():
            return Outcome(path=path, error=PredictorDownError(f"not sent: {target.url} does not answer"))
        outcome = _ask(target, path, parameters, limit_bytes)
        if isinstance(outcome.error, PredictorDownError):
            unreachable.set()
        return outcome

    exit_code = 0
    progress = Progress(len(paths), sys.stderr)
    progress.show(0)
    for done, outcome in enumerate(in_order(ask, paths, options.jobs), 1):
        progress.clear()
        _report(outcome, options, first=done == 1)
        if isinstance(outcome.error, PredictorDownError):
            if exit_code != 3:  # once is enough
                _complain(str(outcome.error))
            exit_code = 3
        elif outcome.error:
            _complain(f"{outcome.path}: {outcome.error}")
            exit_code = exit_code or 1
        progress.show(done)
    progress.clear()
    return exit_code


def _parameters(options: argparse.Namespace) -> Mapping[str, object]:
    """None unless needed: without parameters a picture is sent bare, a quarter smaller than as JSON."""
    if options.top == DEFAULT_TOP and not options.timings:
        return {}
    return {"top": options.top, **({"timings": True} if options.timings else {})}


def _ask(target: Target, path: Path, parameters: Mapping[str, object], limit_bytes: int) -> Outcome:
    try:
        picture = sys.stdin.buffer.read() if path == STDIN else path.read_bytes()
    except OSError as exc:
        return Outcome(path=path, error=RequestError(f"cannot be read ({exc.strerror})"))
    resized = None
    try:
        body = fit_body(picture, parameters, limit_bytes)
        resized = body.resized
        return Outcome(path=path, reply=target.ask(body), resized=resized)
    except ShardlineError as exc:
        return Outcome(path=path, error=exc, resized=resized)


def in_order(work: Callable[[Path], Outcome], paths: Sequence[Path], jobs: int) -> Iterator[Outcome]:
    """`work` on every path in `jobs` threads; the outcomes come in the order of the paths, each as soon as it can.

    The threads are daemons, unlike those of a ThreadPoolExecutor: Ctrl-C does not wait for replies.
    """
    futures: list[Future[Outcome]] = [Future() for _ in paths]
    waiting = iter(list(zip(paths, futures, strict=True)))

    def run() -> None:
        for path, future in waiting:  # next() of a list's iterator is atomic
            try:
                future.set_result(work(path))
            except BaseException as exc:
                future.set_exception(exc)

    for _ in range(min(jobs, len(paths))):
        threading.Thread(target=run, daemon=True).start()
    for future in futures:
        yield future.result()


def _report(outcome: Outcome, options: argparse.Namespace, *, first: bool) -> None:
    if outcome.resized:
        before, after = outcome.resized
        print(f"Resizing from {list(before)} to {list(after)}", file=sys.stderr, flush=True)
    name = str(outcome.path)
    if options.json:
        line = (
            json_line(name, outcome.reply, timings=options.timings)
            if outcome.reply
            else json_error(name, str(outcome.error))
        )
        print(line, flush=True)
    elif outcome.reply:
        text = draw_reply(name, outcome.reply, Style.of(sys.stdout), timings=options.timings)
        print(text if first else f"\n{text}", flush=True)


def _complain(message: str) -> None:
    print(f"error: {printable(message)}", file=sys.stderr, flush=True)


def make_parser() -> argparse.ArgumentParser:
    """The options; docs/commands.md is made from it."""
    name = "request.py" if Path(sys.argv[0]).name == "request.py" else "shardline request"
    return parser_of(name, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
