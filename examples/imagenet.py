"""Accuracy of whole and chain on photographs whose file names hold their class, such as n02123045_tabby.JPEG.

    python examples/imagenet.py FOLDER [--model efficientnet-lite0] [--stages 3] [--serve]

A bundle is built, unless it is there, and every photograph runs through the whole model and through the chain of
shards in this process. Accuracy of both, the share of equal answers and the largest difference of the outputs are
printed. With --serve the chain is served, too: client/request.py sends it the photographs, and `shardline evaluate
classifier` counts them, in a folder of classes that is arranged in bundles/. The WordNet id in a name gives the class:
ImageNet's models have the ids in sorted order.
"""

import json
import re
import shutil
import subprocess
import sys
from argparse import ArgumentParser
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shardline.client.pictures import pictures_below
from shardline.demo import free_port, run, say, started
from shardline.partition.compare import max_abs_difference
from shardline.partition.imagenet import imagenet_labels
from shardline.partition.timm_models import imagenet_wordnet_ids
from shardline.partition.verify import LocalChain
from shardline.predictors.picture import to_pixels
from shardline.storage.bundle import BUNDLE_FILE
from shardline.wire.errors import DatasetError, ShardlineError

_WORDNET_ID = re.compile(r"n\d{8}")
_CLIENT = Path(__file__).parents[1] / "client" / "request.py"


@dataclass(slots=True, kw_only=True)
class Counts:
    """Right answers of whole and chain, equal answers, and the largest difference of an output."""

    pictures: int = 0
    whole_right: int = 0
    chain_right: int = 0
    same: int = 0
    max_abs_difference: float = 0.0


def main() -> None:
    parser = ArgumentParser(description="Count right answers of whole and chain on photographs of ImageNet's classes.")
    parser.add_argument("folder", type=Path, help="folder of photographs named by WordNet id")
    parser.add_argument("--model", default="efficientnet-lite0", help="model to build (default: %(default)s)")
    parser.add_argument("--stages", type=int, default=3, help="number of stages (default: %(default)s)")
    parser.add_argument("--serve", action="store_true", help="also send the photographs to a served chain")
    arguments = parser.parse_args()
    name = arguments.model.rpartition(":")[2].replace("_", "-")
    bundle = Path("bundles") / f"{name}-{arguments.stages}"
    try:
        files = labelled(arguments.folder)
        if not (bundle / BUNDLE_FILE).is_file():
            run("build", arguments.model, "--stages", str(arguments.stages), "--out", str(bundle))
        print_counts(compare(bundle, files))
    except ShardlineError as exc:
        sys.exit(f"error: {exc}")
    if arguments.serve:
        serve(bundle, files)


def labelled(folder: Path) -> dict[Path, int]:
    """The photographs below a folder with the index of each one's class.

    Raises:
        DatasetError: there is none, or a name holds no WordNet id of ImageNet's classes.
    """
    indexes = {wordnet_id: index for index, wordnet_id in enumerate(imagenet_wordnet_ids())}
    files = {path: _WORDNET_ID.match(path.name) for path in pictures_below(folder)}
    unknown = next((path for path, found in files.items() if found is None or found[0] not in indexes), None)
    if unknown is not None or not files:
        raise DatasetError(
            f"{unknown or folder} is not named by a class: photographs are expected as n02123045_tabby.JPEG"
        )
    return {path: indexes[found[0]] for path, found in files.items() if found is not None}


def compare(bundle: Path, files: dict[Path, int]) -> Counts:
    """Run the photographs through the whole and through the chain, one at a time."""
    chain = LocalChain(bundle)
    counts = Counts(pictures=len(files))
    for path, expected in files.items():
        pixels = to_pixels(path.read_bytes(), chain.bundle.picture, chain.bundle.limits)[None]
        [whole] = chain.run_reference(pixels)[-1].values()
        [split] = chain.run_stages(pixels)[-1].values()
        answers = int(np.argmax(whole)), int(np.argmax(split))
        counts.whole_right += answers[0] == expected
        counts.chain_right += answers[1] == expected
        counts.same += answers[0] == answers[1]
        counts.max_abs_difference = max(counts.max_abs_difference, max_abs_difference(split, whole))
    return counts


def print_counts(counts: Counts) -> None:
    print(
        f"whole: {counts.whole_right} of {counts.pictures} right, chain: {counts.chain_right} of {counts.pictures} "
        f"right, agreement {counts.same / counts.pictures:g}, max abs difference {counts.max_abs_difference:g}"
    )


def serve(bundle: Path, files: dict[Path, int]) -> None:
    """Serve the bundle, and count the answers that the client gets, and those that the evaluation counts."""
    with started("up", str(bundle), "--port", str(free_port()), "--quiet") as url:
        replies = ask(url, list(files))
        labels = imagenet_labels()
        right = sum(reply["predictions"][0]["label"] == labels[files[path]] for path, reply in replies.items())
        print(f"client: {right} of {len(files)} right")
        run("evaluate", "classifier", "--url", url, "--data", str(arrange(files)), "--out", f"{bundle}-report")


def ask(url: str, files: list[Path]) -> dict[Path, dict[str, list[dict[str, str]]]]:
    """Send the photographs with client/request.py; the replies in its lines of JSON."""
    command = [sys.executable, str(_CLIENT), *map(str, files), "--url", url, "--json"]
    say((str(_CLIENT.relative_to(_CLIENT.parents[1])), f"{len(files)} photographs", "--url", url, "--json"))
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return {path: json.loads(line) for path, line in zip(files, done.stdout.splitlines(), strict=True)}


def arrange(files: dict[Path, int]) -> Path:
    """Copy the photographs into a folder for each class, named by its label, as evaluations take them."""
    folder = Path("bundles") / "imagenet-classes"
    shutil.rmtree(folder, ignore_errors=True)
    for path, index in files.items():
        place = folder / imagenet_labels()[index]
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    return folder


if __name__ == "__main__":
    main()
