"""The whole path once, as a user would type it: build, verify, render, up, request, stop.

    python examples/demo.py [--model torchvision:resnet50] [--stages 3]

Each command is printed before it runs. A bundle that was built before is used again.
"""

import signal
import socket
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from storage.bundle import read_bundle
from wire.errors import BundleError

PHOTOS = Path("bundles") / "photos"


def main() -> None:
    parser = ArgumentParser(description="Build, verify, serve and ask a sharded model on this machine.")
    parser.add_argument("--model", default="torchvision:resnet50")
    parser.add_argument("--stages", type=int, default=3)
    arguments = parser.parse_args()
    name = arguments.model.partition(":")[2].replace("_", "-")
    bundle = Path("bundles") / name
    if not is_built(bundle, arguments.model, arguments.stages):
        weights = ("--weights", "random:0")
        run("build", arguments.model, *weights, "--stages", str(arguments.stages), "--out", str(bundle))
    run("plan", str(bundle))
    run("render", str(bundle), "--out", "manifests-out")
    with served(Path("manifests-out") / f"{name}.yaml") as url:
        run("samples", str(PHOTOS))
        run("request", str(PHOTOS / "chelsea.png"), "--url", url, "--timings")
    run("verify", str(bundle))


def is_built(folder: Path, model: str, stages: int) -> bool:
    """Is a whole and unaltered bundle of this model there already?"""
    try:
        bundle = read_bundle(folder)
    except BundleError:
        return False
    return bundle.model == model and len(bundle.stages) == stages


def run(*arguments: str) -> None:
    """Run one command as a user would; a failure ends the demo with its exit code."""
    say(arguments)
    code = subprocess.run([sys.executable, "-m", "shardline", *arguments], check=False).returncode
    if code:
        sys.exit(code)


@contextmanager
def served(manifest: Path) -> Iterator[str]:
    """The chain, up and ready; gives its URL, and stops it at the end as Ctrl-C does."""
    command = ("up", str(manifest), "--port", str(free_port()), "--quiet")
    say(command)
    with subprocess.Popen([sys.executable, "-m", "shardline", *command], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()  # `up` prints it when all is ready, or ends
            if not url:
                sys.exit(process.wait() or 1)
            print(url, flush=True)
            yield url
        finally:
            process.send_signal(signal.SIGINT)


def say(command: Sequence[str]) -> None:
    print(f"\n$ shardline {' '.join(command)}", flush=True)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


if __name__ == "__main__":
    main()
