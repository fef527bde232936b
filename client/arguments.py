"""The options of request.py."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from shardline.client.look import DEFAULT_CROPS, DEFAULT_LOOK, LOOKS
from shardline.client.plates import DEFAULT_THRESHOLD
from shardline.wire.limits import REQUEST_BYTES

DEFAULT_URL = "http://127.0.0.1:8080"
DEFAULT_TOP = 5
_DEFAULT_WAIT_S = 120.0
_CLUSTER_ONLY = ("name", "namespace", "kubeconfig", "context", "wait")


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """The options in use, checked against each other and filled up from the environment. Wrong ones: SystemExit(2)."""
    options = parser.parse_args(argv)
    if not options.kserve:
        alone = [f"--{name}" for name in (*_CLUSTER_ONLY, "ingress") if getattr(options, name) is not None]
        if alone:
            parser.error(f"{alone[0]} is for --kserve: give that, too")
    elif options.url is not None:
        parser.error("--url and --kserve exclude each other: an ingress to the cluster is given by --ingress")
    options.url = options.url or os.environ.get("SHARDLINE_URL") or None
    options.ingress = options.ingress or os.environ.get("SHARDLINE_INGRESS") or None
    if options.token is None and options.token_file is None:
        options.token = os.environ.get("SHARDLINE_TOKEN") or None
    options.ca_file = options.ca_file or _path(os.environ.get("SHARDLINE_CA_FILE"))
    options.wait = _DEFAULT_WAIT_S if options.wait is None else options.wait
    return options


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def parser_of(name: str, description: str) -> argparse.ArgumentParser:
    """`name` is what the command is called by."""
    parser = argparse.ArgumentParser(
        prog=name, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    _add_asking(parser)
    _add_plates(parser)
    _add_retrieval(parser)
    _add_access(parser)
    _add_cluster(parser)
    return parser


def _add_asking(parser: argparse.ArgumentParser) -> None:
    limit_mb = REQUEST_BYTES / 1024**2
    add = parser.add_argument
    add("pictures", nargs="+", type=Path, metavar="PICTURE", help="files, folders to search for pictures, - for stdin")
    add("--url", help=f"of the server, or of one model (default: $SHARDLINE_URL or {DEFAULT_URL})")
    add("--top", type=_positive_int, default=DEFAULT_TOP, metavar="N", help="labels a picture (default: %(default)s)")
    add("--timings", action="store_true", help="show the time of each stage")
    add("--json", action="store_true", help="one line of JSON a picture on stdout")
    add(
        "--save", type=Path, metavar="FILE", help="write the picture with the reply drawn in; of several, into a folder"
    )
    add("--show", action="store_true", help="open the picture with the reply drawn in, in the system's viewer")
    add("--jobs", type=_positive_int, default=4, metavar="N", help="requests at once (default: %(default)s)")
    add("--timeout", type=_positive, default=60.0, metavar="S", help="seconds to a reply (default: %(default)g)")
    add("--retries", type=_count, default=3, metavar="N", help="tries more while busy or away (default: %(default)s)")
    add("--header", action="append", default=[], type=_header, metavar="H", help="such as 'Host: …'; may be repeated")
    add("--limit-mb", type=_positive, default=limit_mb, metavar="MB", help="of one request (default: %(default)g)")


def _add_plates(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("license plates").add_argument
    add("--threshold", type=_share, metavar="T", help=f"least score of a plate, up to 1 (default: {DEFAULT_THRESHOLD})")
    add(
        "--look",
        choices=LOOKS,
        help="once: one request a picture; twice: also at parts of a large picture where a plate is suspected; "
        f"tiles: at all parts of it (default: {DEFAULT_LOOK})",
    )
    add(
        "--crops",
        type=_count,
        default=DEFAULT_CROPS,
        metavar="N",
        help="most parts of a picture that are looked at again (default: %(default)s)",
    )


def _add_retrieval(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("retrieval").add_argument
    add("--neighbours", type=_positive_int, metavar="N", help="of a picture (default: the server's own, 5)")
    add("--nprobe", type=_positive_int, metavar="N", help="lists of an ivf index that are looked through")


def _add_access(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("access to the server or the ingress")
    token, trust = group.add_mutually_exclusive_group(), group.add_mutually_exclusive_group()
    token.add_argument("--token", metavar="T", help="sent as Authorization: Bearer T (default: $SHARDLINE_TOKEN)")
    token.add_argument(
        "--token-file", type=Path, metavar="FILE", help="that holds it: nobody sees it in a list of processes"
    )
    trust.add_argument(
        "--ca-file", type=Path, metavar="FILE", help="certificates to trust (default: $SHARDLINE_CA_FILE)"
    )
    trust.add_argument("--insecure", action="store_true", help="trust any certificate")


def _add_cluster(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("asking a chain in a cluster").add_argument
    add("--kserve", action="store_true", help="look the chain up in the cluster instead of asking --url")
    add("--name", help="of the InferenceGraph or InferenceService (default: the only one there)")
    add("--namespace", "-n", help="where it is (default: the context's, or the pod's own)")
    add(
        "--ingress",
        metavar="URL",
        help="of the way into the cluster (default: $SHARDLINE_INGRESS, else a port-forward)",
    )
    add(
        "--kubeconfig",
        type=Path,
        metavar="FILE",
        help="(default: $KUBECONFIG or ~/.kube/config, else the pod's account)",
    )
    add("--context", help="of the kubeconfig (default: its current one)")
    add("--wait", type=_wait, metavar="S", help=f"seconds for all stages to get ready (default: {_DEFAULT_WAIT_S:g})")


def _positive(text: str) -> float:
    if not 0 < float(text) < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return float(text)


def _share(text: str) -> float:
    if not 0 < float(text) <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not over 0 and at most 1")
    return float(text)


def _wait(text: str) -> float:
    if not 0 <= float(text) < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is not 0 or more")
    return float(text)


def _positive_int(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return int(text)


def _count(text: str) -> int:
    if int(text) < 0:
        raise argparse.ArgumentTypeError(f"{text} is not 0 or more")
    return int(text)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip() or not text.isprintable() or not text.isascii():
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form 'Name: value'")
    return name.strip(), value.strip()
