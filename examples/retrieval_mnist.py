"""Classify handwritten digits by their nearest neighbours: train an embedding, build, index, verify, serve and ask.

    python examples/retrieval_mnist.py MNIST [--stages 3] [--kind ivf] [--ask 10000] [-- options of `train embedding`]

MNIST is a folder with the four idx-ubyte.gz files. Each command is printed before it runs; its results are in
trained/digits, bundles/digits and manifests-out/. Then eight clients at once ask the chain about test pictures, sent
as PNG files, and two figures are printed: the accuracy of the neighbours' vote, and recall@10, the share of the ten
nearest neighbours that the index finds, compared with an exhaustive search. The exit code is 1 if either is below
--least. `shardline evaluate retrieval` computes both in the same way, for one picture at a time, and many more.
"""

import base64
import sys
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import requests

from shardline.client.neighbours import Retrieved, read_neighbours
from shardline.demo import free_port, run, started
from shardline.storage.bundle import stage_folder
from shardline.tasks.faiss_index import open_index
from shardline.training.embedding.model import WIDTH
from shardline.training.evaluation.classifier.evaluate import evaluate
from shardline.training.evaluation.classifier.pictures import read_pictures
from shardline.training.evaluation.classifier.sources import ClassPrediction
from shardline.training.evaluation.retrieval.sources import Recall, read_votes

BUNDLE, TRAINED, MANIFEST = Path("bundles/digits"), Path("trained/digits"), Path("manifests-out/digits.yaml")
CLIENTS = 8
BATCH = 10  # pictures in a request
NEAREST = 10


def main() -> None:
    parser = ArgumentParser(description="Serve an index of handwritten digits in stages, and count what it finds.")
    parser.add_argument("data", type=Path)
    parser.add_argument("--stages", type=int, default=3)
    parser.add_argument("--kind", default="ivf", choices=("flat", "ivf"), help="Kind of index: flat or ivf")
    parser.add_argument("--ask", type=int, default=10_000, help="Largest number of test pictures")
    parser.add_argument(
        "--least", type=float, nargs=2, default=(0.97, 0.98), help="Least accuracy of the vote, and least recall"
    )
    parser.add_argument("options", nargs="*", help="Options of `shardline train embedding`, after --")
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
    files = [sample.picture for sample in test]
    with started("up", str(MANIFEST), "--port", str(free_port()), "--quiet") as url:
        found = ask_all(url, files, {"k": NEAREST})
        exact = ask_all(url, files, {"k": NEAREST, **exhaustive})
    answered = AnsweredBefore(classes=test.labels, replies=dict(zip(files, found, strict=True)))
    report, _ = evaluate(test, [answered], most_mistakes=0)
    right = report.sides[0].top1.share or 0.0
    recall = recall_of(found, exact)
    print(f"\n{len(found)} test pictures, {CLIENTS} clients: vote right {right:.4f}, recall@{NEAREST} {recall:.4f}")
    if right < arguments.least[0] or recall < arguments.least[1]:
        sys.exit(f"error: less than {arguments.least[0]} or {arguments.least[1]}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredBefore:
    """A data source of the evaluation whose predictions were made before, by several clients at once."""

    classes: tuple[str, ...]
    replies: Mapping[bytes, Retrieved]
    name: str = "the chain"

    def predict(self, picture: bytes) -> ClassPrediction:
        reply = self.replies[picture]
        return read_votes(reply.vote, [neighbour.label for neighbour in reply.neighbours], self.classes)


def recall_of(found: Sequence[Retrieved], exact: Sequence[Retrieved]) -> float:
    """The share of the nearest neighbours that were found."""
    recall = Recall(f"recall@{NEAREST}")
    for reply, nearest in zip(found, exact, strict=True):
        names = [neighbour.name for neighbour in reply.neighbours]
        recall.add(names, [neighbour.name for neighbour in nearest.neighbours])
    return recall.recall().share or 0.0


def ask_all(url: str, files: Sequence[bytes], parameters: dict[str, int]) -> list[Retrieved]:
    """Ask the chain about all pictures, with eight clients at once."""
    batches = [files[start : start + BATCH] for start in range(0, len(files), BATCH)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        return [reply for replies in pool.map(lambda batch: ask(url, batch, parameters), batches) for reply in replies]


def ask(url: str, files: Sequence[bytes], parameters: dict[str, int]) -> list[Retrieved]:
    """Send one request with several encoded pictures."""
    body = {"instances": [{"data": base64.b64encode(file).decode()} for file in files], "parameters": parameters}
    reply = requests.post(url, json=body, timeout=60)
    if reply.status_code != 200:
        sys.exit(f"error: {reply.text}")
    read = [read_neighbours(prediction) for prediction in reply.json()["predictions"]]
    known = [retrieved for retrieved in read if retrieved is not None]
    if len(known) < len(files):
        sys.exit(f"error: no neighbours: {reply.text[:200]}")
    return known


if __name__ == "__main__":
    main()
