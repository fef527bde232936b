"""Train a classifier on a folder of pictures, build and verify its bundle, serve it in stages, and ask about pictures.

    python examples/classifier.py FOLDER [--stages 2] [options of `shardline train classifier`]

FOLDER holds train/CLASS/*.jpg and test/CLASS/*.jpg. Each command is printed before it runs; what comes out lies in
trained/NAME, bundles/NAME and manifests-out/, NAME being the folder's. A training that is there already is
resumed. The chain is asked about one test picture of each class.
"""

import json
from argparse import ArgumentParser
from pathlib import Path

from shardline.demo import answer, free_port, run, started


def main() -> None:
    parser = ArgumentParser(
        description="Train a classifier on a folder of pictures and serve it in stages.", allow_abbrev=False
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--stages", type=int, default=2)
    arguments, options = parser.parse_known_args()
    name = arguments.folder.resolve().name.lower().replace("_", "-")
    trained, bundle = Path("trained") / name, Path("bundles") / name

    started_with = ("--resume",) if (trained / "last.pt").exists() else ("--data", str(arguments.folder), *options)
    described = answer("train", "classifier", "--out", str(trained), *started_with)
    pictures = ("--pictures", str(arguments.folder / "train"))
    run("build", described, "--stages", str(arguments.stages), "--out", str(bundle), *pictures)
    run("verify", str(bundle), "--images", str(arguments.folder / "test"))
    run("render", str(bundle), "--out", "manifests-out")
    manifest = Path("manifests-out") / f"{name}.yaml"
    with started("up", str(manifest), "--port", str(free_port()), "--quiet") as url:
        ask(url, arguments.folder / "test")


def ask(url: str, folder: Path) -> None:
    """Ask about one picture of each class, and print the predictions and how many are right."""
    right = 0
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    for label in classes:
        picture = min(label.iterdir())
        prediction = json.loads(answer("request", str(picture), "--url", url, "--json"))["predictions"][0]
        right += prediction["label"] == label.name
        print(f"{picture}: {prediction['label']}, score {prediction['score']:.2f}")
    print(f"\n{right} of {len(classes)} right")


if __name__ == "__main__":
    main()
