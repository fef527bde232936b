"""Send pictures to a served model and print the predictions.

    python client/request.py photo.jpg
    python client/request.py photos/ more.png --top 3 --url http://example.com
    python client/request.py photos/ --json > replies.jsonl
    python client/request.py car.jpg --save marked.png
    python client/request.py https://example.com/cat.jpg --show
    python client/request.py --video drive.mp4 --fps 5 --known plates.txt
    python client/request.py photo.jpg --kserve -n vision --name resnet50

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
from dataclasses import dataclass, replace

from PIL import Image

from shardline.client.arguments import build_parser, parse
from shardline.client.cluster import connect
from shardline.client.credentials import read_credentials
from shardline.client.draw import draw_reply, json_error, json_line
from shardline.client.frames import folder_frames, save_crops, track_json, track_lines, track_plates
from shardline.client.graphs import find_chain
from shardline.client.inputs import read_inputs
from shardline.client.known import KnownPlates
from shardline.client.mark import check_saving, has_display, mark, output_paths, save_reply, show
from shardline.client.neighbours import retrieval_parameters
from shardline.client.pictures import Source, find_pictures, read_source
from shardline.client.plate_output import plates_summary
from shardline.client.plates import Plate, plates_in
from shardline.client.predictor import Outcome, Predictor, RequestOptions
from shardline.client.preview import inline, preview_lines, terminal_protocol
from shardline.client.readiness import wait_ready
from shardline.client.replies import read_prediction
from shardline.client.route import open_route
from shardline.client.target import DEFAULT_URL, Reply, Target
from shardline.client.terminal import FrameCounter, ProgressBar, TerminalStyle, WaitingLine
from shardline.client.tracking import LEAST_FRAMES
from shardline.client.video import video_frames
from shardline.client.waiting import in_order
from shardline.wire.errors import (
    ClusterError,
    FileError,
    MissingPackageError,
    PredictorDownError,
    PredictorError,
    ShardlineError,
    UsageError,
)
from shardline.wire.limits import MIB
from shardline.wire.text import printable

_RANDOM = "the weights are random: labels, scores and positions mean nothing"


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
        if options.video or options.track:
            return _follow_plates(options)
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


def _predict_all(target: Target, sources: Sequence[Source], options: argparse.Namespace) -> int:
    """Predict every picture, `--jobs` at a time, and report in the order of the pictures."""
    predict = _PictureTask(target, options, alone=len(sources) == 1)
    files = output_paths(options.save, sources) if options.save else [None] * len(sources)
    exit_code, with_plates, plates, warned = 0, 0, list[Plate](), False
    progress = ProgressBar(len(sources), sys.stderr)
    progress.show(0)
    answers = in_order(predict, list(zip(sources, files, strict=True)), options.jobs)
    for done, (source, answer) in enumerate(zip(sources, answers, strict=True), 1):
        progress.clear()
        _report(source, answer, options, first=done == 1)
        outcome = answer.outcome
        if outcome.reply and outcome.reply.random_weights and not warned:
            print(_RANDOM, file=sys.stderr, flush=True)
            warned = True
        found = plates_in(outcome.reply.predictions) if outcome.reply else None
        if found is not None:
            with_plates += 1
            plates += found
        if isinstance(outcome.error, PredictorDownError):
            if exit_code != 3:  # once is enough
                _print_error(str(outcome.error))
            exit_code = 3
        elif outcome.error:
            _print_error(f"{source}: {outcome.error}")
            exit_code = exit_code or 1
        progress.show(done)
    progress.clear()
    if len(sources) > 1 and with_plates and not options.json:
        print(f"\n{plates_summary(with_plates, plates)}", flush=True)
    return exit_code


def _follow_plates(options: argparse.Namespace) -> int:
    """Predict the frames of a video or a folder, and report one line for each plate."""
    known = KnownPlates.read(options.known) if options.known else None
    if options.save and (options.save.suffix or options.save.is_file()):
        raise UsageError(f"--save {options.save}: the best crops of the plates need a folder: give one")
    name, every = str(options.video or options.pictures[0]), options.every or 1
    frames = (
        video_frames(options.video, every=every, fps=options.fps)
        if options.video
        else folder_frames(find_pictures(options.pictures), options.timeout, every)
    )
    counter = FrameCounter(sys.stderr)
    with open_target(options) as target:
        predictor = Predictor(target, request_options(options))
        least = options.least_frames or LEAST_FRAMES
        try:
            report = track_plates(frames, predictor, jobs=options.jobs, least=least, progress=counter.show)
        except PredictorDownError as exc:
            _print_error(str(exc))
            return 3
        except PredictorError as exc:
            _print_error(f"{name}: {exc}")
            return 1
        finally:
            counter.clear()
    for line in track_json(name, report, known) if options.json else [track_lines(name, report, known, _style())]:
        print(line, flush=True)
    if options.save:
        save_crops(options.save, report)
    if report.error:
        _print_error(f"{name}: {report.failed} of {report.frames} frames failed; the first: {report.error}")
    return 1 if report.error else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """Outcome of one picture, and the picture as text for the terminal: empty, a preview or an escape sequence."""

    outcome: Outcome
    shown: str = ""


class _PictureTask:
    """Reads, predicts and, if wanted, marks one picture after another, in several threads."""

    def __init__(self, target: Target, options: argparse.Namespace, *, alone: bool) -> None:
        self._target = target
        self._options = options
        self._predictor = Predictor(target, request_options(options))
        self._known = KnownPlates.read(options.known) if options.known else None
        self._unreachable = threading.Event()
        terminal = TerminalStyle.of(sys.stdout).colour
        self._protocol = terminal_protocol() if terminal and options.show else None
        self._blocks_for_show = options.show and terminal and not (self._protocol or has_display())
        self._preview = alone and terminal and not options.json if options.preview is None else options.preview

    def __call__(self, item: tuple[Source, Path | None]) -> _Answer:
        if self._unreachable.is_set():
            error = PredictorDownError(f"not sent: {self._target.url} does not answer")
            return _Answer(outcome=Outcome(error=error))
        answer = self._predict(*item)
        if isinstance(answer.outcome.error, PredictorDownError):
            self._unreachable.set()
        return answer

    def _predict(self, source: Source, file: Path | None) -> _Answer:
        """Read, predict and, if wanted, mark one picture. Its bytes are not kept."""
        try:
            data = read_source(source, self._options.timeout)
        except ShardlineError as exc:
            return _Answer(outcome=Outcome(error=exc))
        outcome = self._predictor.predict(data)
        if outcome.reply is None:
            return _Answer(outcome=outcome)
        try:
            if self._known:
                outcome = replace(outcome, reply=self._known.annotate(outcome.reply))
            assert outcome.reply is not None
            if file:
                save_reply(data, outcome.reply, file)
            return _Answer(outcome=outcome, shown=self._show(data, outcome.reply))
        except ShardlineError as exc:
            return _Answer(outcome=replace(outcome, error=exc))

    def _show(self, data: bytes, reply: Reply) -> str:
        """Show the picture with the reply in the viewer, or return it as text for the terminal."""
        if self._protocol:
            return inline(mark(data, reply), self._protocol)
        if self._options.show and not self._blocks_for_show:
            show(mark(data, reply))
        has_positions = any(read_prediction(prediction).kind.has_positions for prediction in reply.predictions)
        if self._blocks_for_show or (self._preview and has_positions):
            return "\n".join(preview_lines(data, reply))
        return ""


def request_options(options: argparse.Namespace) -> RequestOptions:
    """Parameters only where they are needed: without any, a picture is sent bare, a quarter smaller than as JSON."""
    parameters: Mapping[str, object] = {
        **({} if options.top is None else {"top": options.top}),
        **retrieval_parameters(options.neighbours, options.nprobe),
        **({"timings": True} if options.timings else {}),
    }
    return RequestOptions(
        parameters=parameters,
        inputs=read_inputs(options.input),
        threshold=options.threshold,
        tiling=options.tiling,
        crops=options.crops,
        limit_bytes=int(options.limit_mib * MIB),
        jobs=options.jobs,
    )


def _report(source: Source, answer: _Answer, options: argparse.Namespace, *, first: bool) -> None:
    outcome = answer.outcome
    if outcome.resized:
        before, after = outcome.resized
        print(f"Resizing from {list(before)} to {list(after)}", file=sys.stderr, flush=True)
    name = str(source)
    if options.json:
        line = (
            json_line(name, outcome.reply, timings=options.timings)
            if outcome.reply
            else json_error(name, str(outcome.error))
        )
        print(line, flush=True)
    elif outcome.reply:
        style = replace(_style(), details=options.candidates)
        text = draw_reply(name, outcome.reply, style, timings=options.timings)
        print(text if first else f"\n{text}", flush=True)
    if answer.shown:
        print(answer.shown, flush=True)


def _style() -> TerminalStyle:
    return TerminalStyle.of(sys.stdout)


def _print_error(message: str) -> None:
    print(f"error: {printable(message)}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
