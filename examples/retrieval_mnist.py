"""Handwritten digits by their nearest neighbours: train an embedding, build, index, verify, serve, ask, count.

    python examples/retrieval_mnist.py MNIST [--stages 3] [--kind ivf] [--ask 10000] [-- options of `train embedding`]

MNIST is a folder with the four idx-ubyte.gz files. Each command is printed before it runs; what comes out lies in
trained/digits, bundles/digits and manifests-out/. Then eight clients at once ask the chain about test pictures, sent
as PNG files, and two figures are printed: how often the neighbours' vote is right, and how many of the ten nearest the
index finds, beside the same request with an effort that looks at all. Exit code 1 if either is below --least.
"""

import base64
import io
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import requests
from demo import free_port, run, started  # the other example, in this folder
from PIL import Image

from storage.bundle import stage_folder
from tasks.retrieve import open_index
from training.embedding.mnist import read_digits
from training.embedding.model import WIDTH

BUNDLE, TRAINED, MANIFEST = Path("bundles/digits"), Path("trained/digits"), Path("manifests-out/digits.yaml")
CLIENTS = 8
TOGETHER = 10  # pictures in a request
NEAREST = 10


def main() -> None:
    parser = ArgumentParser(description="Serve an index of handwritten digits in stages, and count what it finds.")
    parser.add_argument("data", type=Path)
    parser.add_argument("--stages", type=int, default=3)
    parser.add_argument("--kind", default="ivf", choices=("flat", "ivf"), help="of the index")
    parser.add_argument("--ask", type=int, default=10_000, help="test pictures, from the first on")
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
    test = read_digits(arguments.data, "test")
    pictures, labels = test.pictures[: arguments.ask], test.labels[: arguments.ask]
    with started("up", str(MANIFEST), "--port", str(free_port()), "--quiet") as url:
        found = ask_all(url, pictures, {"k": NEAREST})
        exact = ask_all(url, pictures, {"k": NEAREST, **exhaustive})
    right = float(np.mean([each["pred"] == str(label) for each, label in zip(found, labels, strict=True)]))
    recall = float(np.mean([len({*a["ids"]} & {*b["ids"]}) / NEAREST for a, b in zip(found, exact, strict=True)]))
    print(f"\n{len(found)} test pictures, {CLIENTS} clients: vote right {right:.4f}, recall@{NEAREST} {recall:.4f}")
    if right < arguments.least[0] or recall < arguments.least[1]:
        sys.exit(f"error: less than {arguments.least[0]} or {arguments.least[1]}")


def ask_all(url: str, pictures: np.ndarray, parameters: dict[str, int]) -> list[dict[str, Any]]:
    """uint8 [n, height, width] -> what the chain says of each, asked by eight at once."""
    parts = [pictures[start : start + TOGETHER] for start in range(0, len(pictures), TOGETHER)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        return [each for replies in pool.map(lambda part: ask(url, part, parameters), parts) for each in replies]


def ask(url: str, pictures: np.ndarray, parameters: dict[str, int]) -> Sequence[dict[str, Any]]:
    body = {
        "instances": [{"data": base64.b64encode(png(each)).decode()} for each in pictures],
        "parameters": parameters,
    }
    reply = requests.post(url, json=body, timeout=60)
    if reply.status_code != 200:
        sys.exit(f"error: {reply.text}")
    predictions: Sequence[dict[str, Any]] = reply.json()["predictions"]
    return predictions


def png(picture: np.ndarray) -> bytes:
    """uint8 [height, width], grey, as a file."""
    with io.BytesIO() as buffer:
        Image.fromarray(picture).save(buffer, "PNG")
        return buffer.getvalue()


if __name__ == "__main__":
    main()
