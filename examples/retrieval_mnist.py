"""Handwritten digits by their nearest neighbours: train an embedding, build, index, verify, serve, ask, count.

    python examples/retrieval_mnist.py MNIST [--stages 3] [--kind ivf] [--ask 10000] [-- options of `train embedding`]

MNIST is a folder with the four idx-ubyte.gz files. Each command is printed before it runs; what comes out lies in
trained/digits, bundles/digits and manifests-out/. Then eight clients at once ask the chain about test pictures, sent
as PNG files, and two figures are printed: how often the neighbours' vote is right, and how many of the ten nearest the
index finds, beside the same request with an effort that looks at all. Exit code 1 if either is below --least. Both are
counted as `shardline evaluate retrieval` counts them, which asks about one picture at a time and has many figures more.
"""

import base64
import sys
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import requests
from demo import free_port, run, started  # the other example, in this folder

from shardline.client.neighbours import Retrieved, read_neighbours
from shardline.storage.bundle import stage_folder
from shardline.tasks.faiss_index import open_index
from shardline.training.embedding.model import WIDTH
from shardline.training.evaluation.classifier.evaluate import evaluate
from shardline.training.evaluation.classifier.pictures import read_pictures
from shardline.training.evaluation.classifier.sources import ClassPrediction
from shardline.training.evaluation.retrieval.sources import Recall, read_votes

BUNDLE, TRAINED, MANIFEST = Path("bundles/digits"), Path("trained/digits"), Path("manifests-out/digits.yaml")
CLIENTS = 8
TOGETHER = 10  # pictures in a request
NEAREST = 10


def main() -> None:
    parser = ArgumentParser(description="Serve an index of handwritten digits in stages, and count what it finds.")
    parser.add_argument("data", type=Path)
    parser.add_argument("--stages", type=int, default=3)
    parser.add_argument("--kind", default="ivf", choices=("flat", "ivf"), help="of the index")
    parser.add_argument("--ask", type=int, default=10_000, help="at most so many test pictures")
    parser.add_argument("--least", type=float, nargs=2, default=(0.97, 0.98), help="right votes, and recall")
    parser.add_argument("options", nargs="*", help="of `shardline train embedding`, behind --")
    arguments = parser.parse_intermixed_args()

    if not (TRAINED / "embedding.safetensors").exists():
        run("train", "embedding", "--data", str(arguments.data), "--out", str(TRAINED), *arguments.options)
    weights = ("--weights", str(TRAINED / "embedding.safetensors"))
    run("build", "embedding", *weights, "--stages", str(arguments.stages), "--out", str(BUNDLE))
    run("index", "build", "--bundle", str(BUNDLE), "--data", str(arguments.data), "--kind", arguments.kind)
    run("verify", str(BUNDLE))
    run("render", str(BUNDLE), "--out", str(MANIFEST.parent))
    index = open_index(BUNDLE / stage_folder(arguments.stages - 1), WIDTH)
    exhaustive = {"nprobe": index.most_effort} if arguments.kind == "ivf" else {}
    test = read_pictures(arguments.data, arguments.ask)
    files = [each.picture for each in test]
    with started("up", str(MANIFEST), "--port", str(free_port()), "--quiet") as url:
        found = ask_all(url, files, {"k": NEAREST})
        exact = ask_all(url, files, {"k": NEAREST, **exhaustive})
    asked = Asked(classes=test.labels, replies=dict(zip(files, found, strict=True)))
    report, _ = evaluate(test, [asked], most_mistakes=0)
    right = report.sides[0].top1.share or 0.0
    recall = recall_of(found, exact)
    print(f"\n{len(found)} test pictures, {CLIENTS} clients: vote right {right:.4f}, recall@{NEAREST} {recall:.4f}")
    if right < arguments.least[0] or recall < arguments.least[1]:
        sys.exit(f"error: less than {arguments.least[0]} or {arguments.least[1]}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What an evaluation asks, where all was answered before, by several clients at once."""

    classes: tuple[str, ...]
    replies: Mapping[bytes, Retrieved]
    name: str = "the chain"

    def predict(self, picture: bytes) -> ClassPrediction:
        said = self.replies[picture]
        return read_votes(said.vote, [each.label for each in said.neighbours], self.classes)


def recall_of(found: Sequence[Retrieved], exact: Sequence[Retrieved]) -> float:
    recall = Recall(f"recall@{NEAREST}")
    for some, nearest in zip(found, exact, strict=True):
        recall.add([each.name for each in some.neighbours], [each.name for each in nearest.neighbours])
    return recall.recall().share or 0.0


def ask_all(url: str, files: Sequence[bytes], parameters: dict[str, int]) -> list[Retrieved]:
    """What the chain says of each picture, asked by eight at once."""
    parts = [files[start : start + TOGETHER] for start in range(0, len(files), TOGETHER)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        return [each for replies in pool.map(lambda part: ask(url, part, parameters), parts) for each in replies]


def ask(url: str, files: Sequence[bytes], parameters: dict[str, int]) -> list[Retrieved]:
    body = {"instances": [{"data": base64.b64encode(each).decode()} for each in files], "parameters": parameters}
    reply = requests.post(url, json=body, timeout=60)
    if reply.status_code != 200:
        sys.exit(f"error: {reply.text}")
    said = [read_neighbours(each) for each in reply.json()["predictions"]]
    known = [each for each in said if each is not None]
    if len(known) < len(files):
        sys.exit(f"error: no neighbours: {reply.text[:200]}")
    return known


if __name__ == "__main__":
    main()
