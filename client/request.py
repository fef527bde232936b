"""Send pictures to a served model and print the predictions.

    python client/request.py photo.jpg
    python client/request.py photos/ more.png --top 3 --url http://models.example.com/v1/models/resnet50:predict
    python client/request.py photos/ --json > replies.jsonl
    python client/request.py car.jpg --save marked.png
    python client/request.py photo.jpg --kserve --namespace vision --name resnet50

Folders are searched for pictures. A picture that is too large for one request is sent as a smaller copy; positions of
license plates are reported in pixels of the original. Plates that are too small are searched for again in crops of the
original. With --kserve the client looks the chain up in the cluster of the kubeconfig, waits until it is ready, and
connects through an ingress or a port-forward. Exit codes: 0 all pictures were answered, 1 some failed, 2 wrong usage,
3 the server or the chain cannot be reached.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    # Python puts a script's own folder first; the package shardline is in the folder above
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import argparse
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from PIL import Image

from shardline.client.arguments import DEFAULT_TOP, build_parser, parse
from shardline.client.cluster import connect
from shardline.client.credentials import read_credentials
from shardline.client.draw import draw_reply, json_error, json_line, plates_summary
from shardline.client.graphs import find_chain
from shardline.client.mark import check_saving, mark, output_paths, save, show
from shardline.client.neighbours import retrieval_parameters
from shardline.client.pictures import STDIN, find_pictures
from shardline.client.plates import Plate, plates_in
from shardline.client.predictor import Outcome, Predictor, RequestOptions
from shardline.client.readiness import wait_ready
from shardline.client.route import open_route
from shardline.client.target import DEFAULT_URL, Target
from shardline.client.terminal import ProgressBar, TerminalStyle, WaitingLine, printable
from shardline.client.waiting import in_order
from shardline.wire.errors import (
    ClusterError,
    FileError,
    MissingPackageError,
    PredictorDownError,
    ShardlineError,
    UsageError,
)
from shardline.wire.limits import MIB


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (None: the process's own) and return the exit code.

    Raises:
        SystemExit: code 2, for options that the parser refuses.
    """
    options = parse(make_parser(), argv)
    Image.MAX_IMAGE_PIXELS = None  # the limit guards servers from strangers' pictures; these are the user's own
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    try:
        pictures = find_pictures(options.pictures)
        if options.save:
            check_saving(options.save, len(pictures))
        with open_target(options) as target:
            return _predict_all(target, pictures, options)
    except (UsageError, FileError) as exc:
        _print_error(str(exc))
        return 2
    except (ClusterError, MissingPackageError) as exc:
        _print_error(str(exc))
        return 3
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # the reader has enough, as `| head` does; what Python still flushes at its end must go somewhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


@contextmanager
def open_target(options: argparse.Namespace) -> Iterator[Target]:
    """Open the server at --url, or with --kserve a chain in a cluster as soon as it is ready.

    Raises:
        UsageError, FileError: an option's value that cannot be used.
        ClusterError: no such chain, or not ready in time; the stage and its reason are named.
    """
    credentials = read_credentials(options.token, options.token_file, options.ca_file, insecure=options.insecure)
    settings = {"timeout_s": options.timeout, "retries": options.retries, "credentials": credentials}
    headers = dict(options.header)
    if not options.kserve:
        yield Target(options.url or DEFAULT_URL, headers=headers, **settings)
        return
    cluster = connect(options.kubeconfig, options.context)
    chain = find_chain(cluster, options.name, options.namespace or cluster.namespace)
    waiting = WaitingLine(str(chain), sys.stderr)
    try:
        wait_ready(cluster, chain.name, chain.namespace, options.wait, waiting.show, enough=lambda state: state.serves)
    finally:
        waiting.clear()
    with open_route(cluster, chain, options.ingress) as route:
        yield Target(route.url, headers={**route.headers, **headers}, **settings)


def make_parser() -> argparse.ArgumentParser:
    """Parser of the command's options; docs/commands.md is generated from it."""
    name = "request.py" if Path(sys.argv[0]).name == "request.py" else "shardline request"
    return build_parser(name, __doc__ or "")


def _predict_all(target: Target, paths: Sequence[Path], options: argparse.Namespace) -> int:
    """Predict every picture, `--jobs` at a time, and report in the order of the pictures."""
    predictor = Predictor(target, _request_options(options))
    unreachable = threading.Event()
    files = output_paths(options.save, paths) if options.save else [None] * len(paths)

    def predict(item: tuple[Path, Path | None]) -> Outcome:
        if unreachable.is_set():
            return Outcome(error=PredictorDownError(f"not sent: {target.url} does not answer"))
        outcome = _predict_file(predictor, *item, show_it=options.show)
        if isinstance(outcome.error, PredictorDownError):
            unreachable.set()
        return outcome

    exit_code, with_plates, plates = 0, 0, list[Plate]()
    progress = ProgressBar(len(paths), sys.stderr)
    progress.show(0)
    outcomes = in_order(predict, list(zip(paths, files, strict=True)), options.jobs)
    for done, (path, outcome) in enumerate(zip(paths, outcomes, strict=True), 1):
        progress.clear()
        _report(path, outcome, options, first=done == 1)
        found = plates_in(outcome.reply.predictions) if outcome.reply else None
        if found is not None:
            with_plates += 1
            plates += found
        if isinstance(outcome.error, PredictorDownError):
            if exit_code != 3:  # once is enough
                _print_error(str(outcome.error))
            exit_code = 3
        elif outcome.error:
            _print_error(f"{path}: {outcome.error}")
            exit_code = exit_code or 1
        progress.show(done)
    progress.clear()
    if len(paths) > 1 and with_plates and not options.json:
        print(f"\n{plates_summary(with_plates, plates)}", flush=True)
    return exit_code


def _predict_file(predictor: Predictor, path: Path, file: Path | None, *, show_it: bool) -> Outcome:
    """Read, predict and, if wanted, mark one picture. Its bytes are not kept."""
    try:
        data = sys.stdin.buffer.read() if path == STDIN else path.read_bytes()
    except OSError as exc:
        return Outcome(error=FileError(f"cannot be read ({exc.strerror})"))
    outcome = predictor.predict(data)
    if outcome.reply and (file or show_it):
        try:
            marked = mark(data, outcome.reply)
            if file:
                save(marked, file)
            if show_it:
                show(marked)
        except ShardlineError as exc:
            return replace(outcome, error=exc)
    return outcome


def _request_options(options: argparse.Namespace) -> RequestOptions:
    """Parameters only where they are needed: without any, a picture is sent bare, a quarter smaller than as JSON."""
    parameters: Mapping[str, object] = {
        **({} if options.top == DEFAULT_TOP else {"top": options.top}),
        **retrieval_parameters(options.neighbours, options.nprobe),
        **({"timings": True} if options.timings else {}),
    }
    return RequestOptions(
        parameters=parameters,
        threshold=options.threshold,
        tiling=options.tiling,
        crops=options.crops,
        limit_bytes=int(options.limit_mib * MIB),
        jobs=options.jobs,
    )


def _report(path: Path, outcome: Outcome, options: argparse.Namespace, *, first: bool) -> None:
    if outcome.resized:
        before, after = outcome.resized
        print(f"Resizing from {list(before)} to {list(after)}", file=sys.stderr, flush=True)
    name = str(path)
    if options.json:
        line = (
            json_line(name, outcome.reply, timings=options.timings)
            if outcome.reply
            else json_error(name, str(outcome.error))
        )
        print(line, flush=True)
    elif outcome.reply:
        text = draw_reply(name, outcome.reply, TerminalStyle.of(sys.stdout), timings=options.timings)
        print(text if first else f"\n{text}", flush=True)


def _print_error(message: str) -> None:
    print(f"error: {printable(message)}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
