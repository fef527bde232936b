"""Command-line options of request.py."""

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from shardline.client.pictures import source_of
from shardline.client.target import DEFAULT_URL
from shardline.client.tiling import DEFAULT_CROPS, DEFAULT_TILING, TILINGS
from shardline.client.tracking import LEAST_FRAMES
from shardline.wire.limits import MIB, PLATE_SCORE, REQUEST_BYTES

_DEFAULT_WAIT_S = 120.0
_PICTURES_ONLY = ("show", "preview", "timings", "candidates")
_CLUSTER_ONLY = ("name", "namespace", "kubeconfig", "context", "wait")


def _number(kind: type[int] | type[float], is_allowed: Callable[[float], bool], allowed: str) -> Callable[[str], float]:
    def read(text: str) -> float:
        if not is_allowed(kind(text)):
            raise argparse.ArgumentTypeError(f"{text} is not {allowed}")
        return kind(text)

    read.__name__ = "number"  # argparse's error for other text names it
    return read


_positive = _number(float, lambda value: 0 < value < 1e6, "a positive number")
_share = _number(float, lambda value: 0 < value <= 1, "over 0 and at most 1")
_wait = _number(float, lambda value: 0 <= value < 1e6, "0 or more")
_positive_int = _number(int, lambda value: value >= 1, "1 or more")
_count = _number(int, lambda value: value >= 0, "0 or more")

# what options have in common
_NUMBER: Mapping[str, Any] = {"type": _positive_int, "metavar": "N"}
_COUNT: Mapping[str, Any] = {"type": _count, "metavar": "N"}
_FILE: Mapping[str, Any] = {"type": Path, "metavar": "FILE"}


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the options, check them against each other and fill them up from the environment.

    Raises:
        SystemExit: code 2, for options that are wrong or do not go together.
    """
    options = parser.parse_args(argv)
    if not options.pictures and options.video is None:
        parser.error("the following arguments are required: PICTURE")
    _check_frames(parser, options)
    if options.json and options.preview:
        parser.error("--preview prints a picture between the lines of --json: leave one of them out")
    if options.crops is not None and options.tiling in ("once", "tiles"):
        parser.error(f"--crops is for --tiling twice: leave it out, or --tiling {options.tiling}")
    options.crops = DEFAULT_CROPS if options.crops is None else options.crops
    if not options.kserve:
        unused = [f"--{name}" for name in (*_CLUSTER_ONLY, "ingress") if getattr(options, name) is not None]
        if unused:
            parser.error(f"{unused[0]} is for --kserve: give that, too")
    elif options.url is not None:
        parser.error("--url and --kserve exclude each other: an ingress to the cluster is given by --ingress")
    options.url = options.url or os.environ.get("SHARDLINE_URL") or None
    options.ingress = options.ingress or os.environ.get("SHARDLINE_INGRESS") or None
    if options.token is None and options.token_file is None:
        options.token = os.environ.get("SHARDLINE_TOKEN") or None
    options.ca_file = options.ca_file or _path(os.environ.get("SHARDLINE_CA_FILE"))
    options.wait = _DEFAULT_WAIT_S if options.wait is None else options.wait
    return options


def _check_frames(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse options that frames do not have, options of frames without frames, and pictures beside a video."""
    if options.video is not None and (options.pictures or options.track):
        parser.error("--video excludes pictures and --track: frames come from the video alone")
    if options.fps is not None and options.video is None:
        parser.error("--fps is for --video: give --every N for a folder of frames")
    frames = options.track or options.video is not None
    for name in ("every", "least_frames") if not frames else _PICTURES_ONLY:
        if getattr(options, name):
            option = f"--{name.replace('_', '-')}"
            parser.error(f"{option} is for single pictures" if frames else f"{option} is for --video and --track")


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


class _HelpFormatter(argparse.HelpFormatter):
    """Formatter that fills each paragraph of a description; indented ones, the examples, stay as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.strip().split("\n\n")
        return "\n\n".join(
            part if part.startswith(" ") else super(_HelpFormatter, self)._fill_text(part, width, indent)
            for part in paragraphs
        )


def build_parser(name: str, description: str) -> argparse.ArgumentParser:
    """Parser of all options; `name` is the command's name in the usage line."""
    parser = argparse.ArgumentParser(prog=name, description=description, formatter_class=_HelpFormatter)
    _add_request_options(parser)
    _add_plate_options(parser)
    _add_frame_options(parser)
    _add_retrieval_options(parser)
    _add_credential_options(parser)
    _add_cluster_options(parser)
    return parser


def _add_request_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    pictures = "picture files, http(s) URLs of pictures, folders to search for pictures, or - for a picture on stdin"
    add("pictures", nargs="*", type=source_of, metavar="PICTURE", help=pictures)
    add("--url", help=f"URL of the server, or of one model (default: $SHARDLINE_URL or {DEFAULT_URL})")
    add("--top", **_NUMBER, help="number of labels or objects for each picture (default: the server's own, 5 labels)")
    add("--timings", action="store_true", help="show the time of each stage in milliseconds")
    add("--json", action="store_true", help="print one line of JSON for each picture")
    add("--save", **_FILE, help="file for the picture with the reply drawn into it; for several pictures, a folder")
    show = (
        "show the picture with the reply drawn into it: in the terminal if that can show pictures (kitty, iTerm2, "
        "WezTerm), else in the system's viewer"
    )
    add("--show", action="store_true", help=show)
    preview = (
        "print a small copy of the picture with boxes or masks below the reply, in 24-bit colours (default: for a "
        "single picture in a terminal with colours)"
    )
    add("--preview", action=argparse.BooleanOptionalAction, default=None, help=preview)
    further = (
        "input that the model takes beside the picture, sent with every picture: NAME=JSON, NAME=@FILE.npy, "
        "NAME=@FILE.json or NAME=@PICTURE; once for each"
    )
    add("--input", action="append", default=[], metavar="NAME=VALUE", help=further)
    add("--jobs", **_NUMBER, default=4, help="number of requests in flight at the same time (default: %(default)s)")
    timeout = "seconds to wait for a reply, retries included (default: %(default)g)"
    add("--timeout", type=_positive, default=60.0, metavar="S", help=timeout)
    retries = "number of retries while the server is busy or cannot be reached (default: %(default)s)"
    add("--retries", **_COUNT, default=3, help=retries)
    header = "HTTP header such as 'Host: models.example.com'; may be repeated"
    add("--header", action="append", default=[], type=_header, metavar="H", help=header)
    limit = "largest request in MiB; a larger picture is sent as a smaller copy (default: %(default)g)"
    add("--limit-mib", type=_positive, default=REQUEST_BYTES / MIB, metavar="MIB", help=limit)


def _add_plate_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("license plates and objects").add_argument
    threshold = f"lowest score, over 0 and at most 1 (default: {PLATE_SCORE} for plates, else the server's own)"
    add("--threshold", type=_share, metavar="T", help=threshold)
    tiling = (
        "passes over a large picture; once: the whole picture only; twice: also crops around possible plates; "
        f"tiles: also overlapping squares that cover the picture (default: {DEFAULT_TILING} for plates, once for "
        "objects)"
    )
    add("--tiling", choices=TILINGS, help=tiling)
    crops = f"largest number of crops of a picture in the second pass (default: {DEFAULT_CROPS})"
    add("--crops", **_COUNT, help=crops)
    known = "text file with expected plates, one per line: print which of them each plate is"
    add("--known", **_FILE, help=known)
    candidates = "print the most likely readings of each plate and the score of each character"
    add("--candidates", action="store_true", help=candidates)


def _add_frame_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("license plates in frames").add_argument
    video = "video file whose frames are sent; plates are followed, and each is read by the vote of all frames"
    add("--video", **_FILE, help=video)
    add("--track", action="store_true", help="treat the pictures as the frames of a video, in the order of their names")
    rate = parser.add_mutually_exclusive_group()
    rate.add_argument("--every", **_NUMBER, help="send every N-th frame only (default: each)")
    rate.add_argument("--fps", type=_positive, metavar="F", help="send about F frames of each second of the video")
    least = f"smallest number of frames that a plate must be seen in (default: {LEAST_FRAMES})"
    add("--least-frames", **_NUMBER, help=least)


def _add_retrieval_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("retrieval").add_argument
    add("--neighbours", **_NUMBER, help="number of neighbours of each picture (default: the server's own, 5)")
    add("--nprobe", **_NUMBER, help="number of lists of an ivf index that are searched (default: the server's own)")


def _add_credential_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("access to the server or the ingress")
    token, trust = group.add_mutually_exclusive_group(), group.add_mutually_exclusive_group()
    token.add_argument("--token", metavar="T", help="token for Authorization: Bearer T (default: $SHARDLINE_TOKEN)")
    token.add_argument(
        "--token-file", **_FILE, help="file with the token, so that it is not visible in the list of processes"
    )
    authorities = "PEM file with the certificate authorities to trust (default: $SHARDLINE_CA_FILE, else the system's)"
    trust.add_argument("--ca-file", **_FILE, help=authorities)
    trust.add_argument("--insecure", action="store_true", help="accept any TLS certificate of the server")


def _add_cluster_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("chain in a cluster").add_argument
    add("--kserve", action="store_true", help="look the chain up in the cluster instead of using --url")
    add("--name", help="name of the InferenceGraph or InferenceService (default: the only one there)")
    add("--namespace", "-n", help="namespace of the chain (default: the context's, or the pod's own)")
    ingress = "URL of the cluster's ingress (default: $SHARDLINE_INGRESS, else a port-forward)"
    add("--ingress", metavar="URL", help=ingress)
    kubeconfig = "kubeconfig file (default: $KUBECONFIG or ~/.kube/config, else the pod's service account)"
    add("--kubeconfig", **_FILE, help=kubeconfig)
    add("--context", help="context of the kubeconfig (default: its current context)")
    wait = f"seconds to wait until all stages are ready (default: {_DEFAULT_WAIT_S:g})"
    add("--wait", type=_wait, metavar="S", help=wait)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip() or not text.isprintable() or not text.isascii():
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form 'Name: value'")
    return name.strip(), value.strip()
