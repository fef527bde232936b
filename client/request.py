"""Ask a served model about pictures.

    python client/request.py photo.jpg
    python client/request.py photos/ more.png --top 3 --url http://models.example.com/v1/models/resnet50:predict
    python client/request.py photos/ --json > replies.jsonl
    python client/request.py car.jpg --save marked.png
    python client/request.py photo.jpg --kserve --namespace vision --name resnet50

Folders are searched for pictures. A picture that is too large for one request is made smaller first; license plates are
told in its own pixels all the same, and looked for again in parts of it where they are too small. With --kserve the
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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from PIL import Image

from shardline.client.access import read_access
from shardline.client.arguments import DEFAULT_TOP, DEFAULT_URL, parse, parser_of
from shardline.client.asking import Asker, Asking, Outcome
from shardline.client.cluster import connect
from shardline.client.draw import Progress, Waiting, draw_reply, json_error, json_line
from shardline.client.graphs import find_chain
from shardline.client.mark import check_saving, mark, names, save, show
from shardline.client.neighbours import retrieval_parameters
from shardline.client.pictures import find_pictures
from shardline.client.plate_boxes import summary
from shardline.client.plates import Plate, plates_in
from shardline.client.readiness import wait_ready
from shardline.client.route import open_route
from shardline.client.style import Style, printable
from shardline.client.target import Target
from shardline.client.together import in_order
from shardline.wire.errors import ClusterError, PredictorDownError, RequestError, ShardlineError


def main(argv: Sequence[str] | None = None) -> int:
    """Run with these arguments (None: the process's own) -> the exit code. Wrong options raise SystemExit(2)."""
    options = parse(make_parser(), argv)
    Image.MAX_IMAGE_PIXELS = None  # that guards servers from strangers' pictures; these are the user's own
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    try:
        pictures = find_pictures(options.pictures)
        if options.save:
            check_saving(options.save, len(pictures))
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


def _ask_all(target: Target, paths: Sequence[Path], options: argparse.Namespace) -> int:
    """Ask about every picture, `--jobs` at once, and report in the order of the pictures."""
    asker = Asker(target, _asking(options))
    unreachable = threading.Event()
    files = names(options.save, paths) if options.save else [None] * len(paths)

    def ask(item: tuple[Path, Path | None]) -> Outcome:
        path, file = item
        if unreachable.is_set():
            return Outcome(path=path, error=PredictorDownError(f"not sent: {target.url} does not answer"))
        outcome = _mark(asker.ask(path), file, options)
        if isinstance(outcome.error, PredictorDownError):
            unreachable.set()
        return outcome

    tally = Tally()
    exit_code = 0
    progress = Progress(len(paths), sys.stderr)
    progress.show(0)
    for done, outcome in enumerate(in_order(ask, list(zip(paths, files, strict=True)), options.jobs), 1):
        progress.clear()
        _report(outcome, options, first=done == 1)
        tally.add(outcome)
        if isinstance(outcome.error, PredictorDownError):
            if exit_code != 3:  # once is enough
                _complain(str(outcome.error))
            exit_code = 3
        elif outcome.error:
            _complain(f"{outcome.path}: {outcome.error}")
            exit_code = exit_code or 1
        progress.show(done)
    progress.clear()
    if len(paths) > 1 and not options.json:
        tally.report()
    return exit_code


def _asking(options: argparse.Namespace) -> Asking:
    """Parameters only where they are needed: without any, a picture is sent bare, a quarter smaller than as JSON."""
    parameters: Mapping[str, object] = {
        **({} if options.top == DEFAULT_TOP else {"top": options.top}),
        **retrieval_parameters(options.neighbours, options.nprobe),
        **({"timings": True} if options.timings else {}),
    }
    return Asking(
        parameters=parameters,
        threshold=options.threshold,
        look=options.look,
        crops=options.crops,
        limit_bytes=int(options.limit_mb * 1024**2),
        jobs=options.jobs,
    )


def _mark(outcome: Outcome, file: Path | None, options: argparse.Namespace) -> Outcome:
    """Save and show what was answered, if that is asked for; the picture's bytes are not needed from then on."""
    error = outcome.error
    if outcome.reply and (file or options.show):
        try:
            marked = mark(outcome.picture, outcome.reply)
            if file:
                save(marked, file)
            if options.show:
                show(marked)
        except ShardlineError as exc:
            error = exc
    return replace(outcome, error=error, picture=b"")


class Tally:
    """What was found in many pictures."""

    def __init__(self) -> None:
        self._pictures = 0
        self._plates: list[Plate] = []

    def add(self, outcome: Outcome) -> None:
        plates = plates_in(outcome.reply.predictions) if outcome.reply else None
        if plates is not None:
            self._pictures += 1
            self._plates += plates

    def report(self) -> None:
        """One line, if there was any reply of plates."""
        if self._pictures:
            print(f"\n{summary(self._pictures, self._plates)}", flush=True)


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
