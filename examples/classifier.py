"""From a folder of pictures to a served classifier: train, build, verify, render, up, ask.

    python examples/classifier.py FOLDER [--stages 2] [options of `shardline train classifier`]

FOLDER holds train/CLASS/*.jpg and test/CLASS/*.jpg. Each command is printed before it runs; what comes out lies in
trained/NAME, bundles/NAME and manifests-out/, NAME being the folder's. A training that is there already goes on. The
chain is asked for one picture of each class that it was not trained with.
"""

import json
from argparse import ArgumentParser
from pathlib import Path

from demo import answer, free_port, run, started  # the other example, in this folder


def main() -> None:
    parser = ArgumentParser(
        description="Train a classifier on a folder of pictures and serve it in stages.", allow_abbrev=False
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--stages", type=int, default=2)
    arguments, options = parser.parse_known_args()
    name = arguments.folder.resolve().name.lower().replace("_", "-")
    trained, bundle = Path("trained") / name, Path("bundles") / name

    begun = ("--resume",) if (trained / "last.pt").exists() else ("--data", str(arguments.folder), *options)
    described = answer("train", "classifier", "--out", str(trained), *begun)
    pictures = ("--pictures", str(arguments.folder / "train"))
    run("build", described, "--stages", str(arguments.stages), "--out", str(bundle), *pictures)
    run("verify", str(bundle), "--images", str(arguments.folder / "test"))
    run("render", str(bundle), "--out", "manifests-out")
    manifest = Path("manifests-out") / f"{name}.yaml"
    with started("up", str(manifest), "--port", str(free_port()), "--quiet") as url:
        ask(url, arguments.folder / "test")


def ask(url: str, folder: Path) -> None:
    """One picture of each class: what it shows, and what the chain says."""
    right = 0
    classes = sorted(each for each in folder.iterdir() if each.is_dir())
    for each in classes:
        picture = min(each.iterdir())
        said = json.loads(answer("request", str(picture), "--url", url, "--json"))["predictions"][0]
        right += said["label"] == each.name
        print(f"{picture}: {said['label']}, score {said['score']:.2f}")
    print(f"\n{right} of {len(classes)} right")


if __name__ == "__main__":
    main()
