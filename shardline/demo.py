"""Demo: build, push, render, serve, ask and verify a model on this machine, with the commands that a user would type.

Each command is printed before it runs. A bundle that was built or pushed before is used again. The bucket is an
emulator's: the shards are fetched from gs:// by KServe's own downloader, as in a cluster.

With `plates`, a license plate with a random text is drawn onto a photograph first, and the prediction is compared with
it: the exit code is 1 if they differ.
"""

import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from shardline.storage.bundle_folder import open_bundle
from shardline.tasks.plates.text import random_text
from shardline.training.plates.fonts import FAMILIES, families
from shardline.training.plates.picture import draw_onto
from shardline.training.plates.scene import Scene
from shardline.wire.errors import BundleError, MissingPackageError, UsageError

DEFAULT_MODEL = "plates"
SHARDLINE = (sys.executable, "-m", "shardline.entry")
EXTRAS = {
    "local": ("gcp_storage_emulator", "kserve_storage"),
    "plates": (f"fontpkg_{FAMILIES[0]}",),
    "samples": ("skimage",),
}
PURPOSES = {"local": "a bucket emulator", "plates": "fonts", "samples": "photographs"}  # of each extra
PHOTOS = Path("bundles") / "photos"
# photographs in colour, with room for a plate
BACKGROUNDS = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
PLATE_SHARE = (0.3, 0.5)  # width of the plate, over the photograph's: large enough to be read with certainty
PLAIN = Scene(rotation_deg=15, tilt_deg=25, wear=0.4)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatePhoto:
    """A photograph with one drawn plate."""

    path: Path
    kind: str
    text: str


def run_demo(model: str = DEFAULT_MODEL, *, stages: int = 3, seed: int | None = None) -> bool:
    """Serve a model in the current folder and send it a picture; False if another plate was read than was drawn.

    Args:
        seed: seed of the drawn license plate; None draws one at random.

    Raises:
        UsageError: a seed for a model that reads no license plates.
        MissingPackageError: a package that the demo needs is not installed.
        SystemExit: a command failed; it has printed why.
    """
    if seed is not None and model != DEFAULT_MODEL:
        raise UsageError(f"--seed {seed} is of the drawn license plate: leave it out for {model}")
    check_packages(model)
    name = (model.partition(":")[2] or model).replace("_", "-")
    bundle = Path("bundles") / name
    weights = weights_of(model)
    if not is_built(bundle, model, weights, stages):
        run("build", model, *weights, "--stages", str(stages), "--out", str(bundle))
    run("plan", str(bundle))
    right = True
    with started("emulator", "--bucket", "models", "--port", "0") as bucket:
        os.environ["STORAGE_EMULATOR_HOST"] = bucket
        pushed = answer("push", str(bundle), "gs://models/demo")
        run("render", str(bundle), "--storage", pushed, "--out", "manifests-out")
        manifest = Path("manifests-out") / f"{name}.yaml"
        with started("up", str(manifest), "--port", str(free_port()), "--quiet") as url:
            run("samples", str(PHOTOS))
            if model == "plates":
                right = ask_about_a_plate(url, PHOTOS, seed)
            else:
                run("request", str(PHOTOS / "chelsea.png"), "--url", url, "--timings")
    run("verify", str(bundle))
    print(f"\nThe emulator has ended, and the bucket with it. To serve the bundle's folder: shardline up {bundle}")
    return right or bool(weights)


def check_packages(model: str) -> None:
    """Refuse to begin without the packages of the extras that the demo needs.

    Raises:
        MissingPackageError: with the extras to install.
    """
    missing = [extra for extra, packages in EXTRAS.items() if not all(map(find_spec, packages))]
    if model != "plates":
        missing = [extra for extra in missing if extra != "plates"]
    if missing:
        raise MissingPackageError(
            f"the demo needs {' and '.join(PURPOSES[extra] for extra in missing)}: "
            f"pip install 'shardline[{','.join(missing)}]'"
        )


def weights_of(model: str) -> tuple[str, ...]:
    """The option --weights: random ones where none ship, so that nothing has to be downloaded."""
    is_without = model.startswith("torchvision:") or (model == "plates" and not shipped())
    return ("--weights", "random:0") if is_without else ()


def shipped() -> Path | None:
    """The trained weights of the license plate detector, where they are installed."""
    spec = find_spec("shardline.training.detector")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    path = Path(folders[0]) / "plates.safetensors" if folders else None
    return path if path and path.is_file() else None


def is_built(folder: Path, model: str, weights: Sequence[str], stages: int) -> bool:
    """Tell whether a complete bundle of this model is there, built from the weights that are installed now."""
    try:
        bundle = open_bundle(folder)
    except BundleError:
        return False
    trained = None if weights else shipped()
    if trained and trained.stat().st_mtime > (folder / "bundle.json").stat().st_mtime:
        return False
    same = bundle.model == model and len(bundle.stages) == stages
    return same and bundle.has_random_weights == bool(weights)


def ask_about_a_plate(url: str, photos: Path, seed: int | None) -> bool:
    """Draw a plate, ask the chain about it, and tell whether the prediction equals the drawn text."""
    seed = secrets.randbelow(10_000) if seed is None else seed
    drawn = draw_plate(seed, photos, photos / "plate.png")
    print(f"\ndrawn onto a photograph at random, seed {seed}: {drawn.kind} {drawn.text}: {drawn.path}", flush=True)
    picture, marked = str(drawn.path), str(drawn.path.with_name("plate-read.png"))
    run("request", picture, "--url", url, "--timings", "--save", marked)
    reply = answer("request", picture, "--url", url, "--json")
    read = [f"{plate['type']} {plate['sub_text']} {plate['main_text']}" for plate in json.loads(reply)["predictions"]]
    if read == [f"{drawn.kind} {drawn.text}"]:
        print(f"\nread == drawn: {drawn.kind} {drawn.text}; the picture with its frame: {marked}", flush=True)
        return True
    print(f"\nread is not what was drawn: drawn {drawn.kind} {drawn.text}, read {', '.join(read) or 'nothing'}")
    if weights_of("plates"):
        print("its weights are random: the trained ones are not in this installation")
    return False


def draw_plate(seed: int, photos: Path, path: Path) -> PlatePhoto:
    """Draw a plate with a random text onto a random photograph, in a font that no training has seen."""
    random = np.random.default_rng(seed)
    with Image.open(photos / BACKGROUNDS[random.integers(0, len(BACKGROUNDS))]) as opened:
        photo = opened.convert("RGB")
    text = random_text(random)
    width_px = float(random.uniform(*PLATE_SHARE) * photo.width)
    plate = draw_onto(random, photo, text, PLAIN, families("held-out"), width_px)
    photo.save(path)
    return PlatePhoto(path=path, kind=plate.kind, text=str(text))


def run(*arguments: str) -> None:
    """Run one command as a user would; a failure ends the demo with its exit code."""
    say(arguments)
    code = subprocess.run([*SHARDLINE, *arguments], check=False).returncode
    if code:
        sys.exit(code)


def answer(*arguments: str) -> str:
    """Run one command and return what it printed on stdout."""
    say(arguments)
    done = subprocess.run([*SHARDLINE, *arguments], check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    print(done.stdout, end="", flush=True)
    return done.stdout.strip()


@contextmanager
def started(*arguments: str) -> Iterator[str]:
    """Start a server, yield the URL that it prints when it is ready, and stop it at the end.

    It is stopped by SIGTERM, since processes that a script starts in the background ignore SIGINT.
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
