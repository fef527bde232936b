"""The whole path once, as a user would type it: build, push, render, up, request, stop, verify.

    python examples/demo.py [--model torchvision:resnet50] [--stages 3]

Each command is printed before it runs. A bundle that was built or pushed before is used again. The bucket is an
emulator's: the shards are fetched from gs:// by KServe's own downloader, as in a cluster.
"""

import os
import socket
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from storage.bundle_folder import read_bundle
from wire.errors import BundleError

SHARDLINE = (sys.executable, "-m", "shardline")
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
    with started("emulator", "--bucket", "models", "--port", "0") as bucket:
        os.environ["STORAGE_EMULATOR_HOST"] = bucket
        pushed = answer("push", str(bundle), "gs://models/demo")
        run("render", str(bundle), "--storage", pushed, "--out", "manifests-out")
        manifest = Path("manifests-out") / f"{name}.yaml"
        with started("up", str(manifest), "--port", str(free_port()), "--quiet") as url:
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
    code = subprocess.run([*SHARDLINE, *arguments], check=False).returncode
    if code:
        sys.exit(code)


def answer(*arguments: str) -> str:
    """`run`, and what it printed."""
    say(arguments)
    done = subprocess.run([*SHARDLINE, *arguments], check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    print(done.stdout, end="", flush=True)
    return done.stdout.strip()


@contextmanager
def started(*arguments: str) -> Iterator[str]:
    """A server, ready; gives the URL that it prints, and stops it at the end.

    By SIGTERM: what was started in the background of a script is deaf to Ctrl-C's SIGINT.
    """
    say(arguments)
    with subprocess.Popen([*SHARDLINE, *arguments], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()  # it comes when all is ready, or the process ends
            if not url:
                sys.exit(process.wait() or 1)
            print(url, flush=True)
            yield url
        finally:
            process.terminate()


def say(command: Sequence[str]) -> None:
    print(f"\n$ shardline {' '.join(command)}", flush=True)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


if __name__ == "__main__":
    main()
