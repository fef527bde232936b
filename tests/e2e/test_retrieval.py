"""A chain that answers from an index, as processes, and the commands that make the index."""

import base64
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from e2e.conftest import Up, shardline, up
from PIL import Image
from services.processes import ROOT, free_port, listens
from services.retrieval import build_retrieval, random_pixels, write_pictures

from shardline.client.neighbours import read_neighbours
from shardline.storage.bundle import stage_folder
from shardline.storage.bundle_folder import changing_bundle, open_bundle
from shardline.tasks.faiss_index import make_index

pytestmark = pytest.mark.slow


def png(pixels: np.ndarray) -> bytes:
    """uint8 [3, height, width] as a file."""
    with io.BytesIO() as buffer:
        Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(buffer, "PNG")
        return buffer.getvalue()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stages and an index of forty pictures, twenty of them added later."""
    folder = tmp_path_factory.mktemp("bundles")
    bundle = build_retrieval(folder / "likeness")
    first, second = write_pictures(folder / "first" / "train", 20), write_pictures(folder / "second", 20, seed=1)
    (second / "even").rename(second / "alike")
    (second / "odd").rename(second / "other")
    built = shardline("index", "build", "--bundle", str(bundle), "--data", str(first.parent))
    before = open_bundle(bundle).digest
    added = shardline("index", "add", "--bundle", str(bundle), "--data", str(second))
    assert built.stdout.strip() == f"{bundle}: {before}"
    assert "20 pictures of 2 labels as vectors of 8 numbers: flat, cosine" in built.stderr
    assert "40 pictures of 4 labels" in added.stderr
    assert added.stdout.strip() == f"{bundle}: {open_bundle(bundle).digest}" != built.stdout.strip()
    return bundle


@pytest.fixture(scope="module")
def chain(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with up(bundle, tmp_path_factory.mktemp("up")) as started:
        yield started


def test_eight_clients_find_the_pictures_that_they_send(chain: Up) -> None:
    first, second = random_pixels(20), random_pixels(20, 1)

    def ask(number: int) -> None:
        body: dict[str, Any] = {"instances": [], "parameters": {"k": 3}}
        for pixels in (first[number], second[number], first[19 - number]):
            body["instances"].append({"data": base64.b64encode(png(pixels)).decode()})
        for _ in range(5):
            predictions = requests.post(chain.url, json=body, timeout=60).json()["predictions"]
            folders = ("even", "odd") if number % 2 == 0 else ("odd", "even")
            expected = [f"{folders[0]}/{number}.png", f"{'other' if number % 2 else 'alike'}/{number}.png"]
            assert [each["ids"][0] for each in predictions] == [*expected, f"{folders[1]}/{19 - number}.png"]
            assert all(each["dist"][0] <= 1e-5 and len(each["dist"]) == 3 for each in predictions)
            assert all(read_neighbours(each) for each in predictions)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [None] * 8


def test_the_golden_picture_gets_the_golden_reply(chain: Up, bundle: Path) -> None:
    expected = json.loads((bundle / "golden.json").read_text())
    reply = chain.post((bundle / "golden.png").read_bytes()).json()

    assert reply == expected


@pytest.mark.parametrize("parameters", [{"k": 0}, {"k": "3"}, {"nprobe": 3}, {"efSearch": 3}, {"top": 3}])
def test_a_wrong_parameter_is_the_client_s_fault(parameters: dict[str, Any], chain: Up) -> None:
    body = {"instances": [{"data": base64.b64encode(png(random_pixels(1)[0])).decode()}], "parameters": parameters}
    reply = requests.post(chain.url, json=body, timeout=60)

    assert reply.status_code == 400
    assert next(iter(parameters)) in reply.json()["error"]


def test_the_client_says_it_in_words(chain: Up, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(png(random_pixels(20)[4]))

    said = shardline("request", str(tmp_path / "x.png"), "--url", chain.url, "--neighbours", "2").stdout.splitlines()

    assert len(said) == 5
    assert said[2].split() == ["label", "picture", "distance"]
    assert said[3].split() == ["1", "even", "even/4.png", "0.0000"]


def start(stage: Path, *options: str) -> tuple[int, str, bool]:
    """A stage's server that should not start -> its exit code, what it said, and whether its port was open."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "shardline.predictors.shard",
        "--model_name=x",
        f"--model_dir={stage}",
        f"--http_port={port}",
    ]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stderr.strip().splitlines()[-1], listens(port)


def test_an_index_of_another_width_an_altered_one_and_none_keep_a_stage_from_starting(
    bundle: Path, tmp_path: Path
) -> None:
    wide, altered, none = (shutil.copytree(bundle, tmp_path / name) for name in ("wide", "altered", "none"))
    last = stage_folder(1)
    names = [f"{last}/index.faiss", f"{last}/index.json"]
    with changing_bundle(wide, names) as (draft, _):
        make_index(np.eye(5), list("abcde"), [None] * 5, kind="flat", metric="cosine").save(draft / last)
    with (altered / names[0]).open("r+b") as file:
        file.seek(100)
        file.write(b"\x7f")
    with changing_bundle(none, names):
        pass

    said = [start(each / last) for each in (wide, altered, none)]

    assert [(code, is_open) for code, _, is_open in said] == [(1, False)] * 3
    assert said[0][1].startswith("error: the index holds vectors of 5 numbers, and this model's embeddings have 8")
    assert said[1][1].startswith("error: stages/1/index.faiss has sha256")
    assert said[2][1].startswith("error: bundle likeness is for the task retrieve and has no index")


def test_what_is_no_bundle_for_an_index_and_what_is_no_picture(
    small_bundle: Path, bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.png").write_text("no picture")
    wrong = {
        "is for the task classify, which has no index": (small_bundle, tmp_path / "empty"),
        "holds no picture": (bundle, tmp_path / "empty"),
        "a.png: ": (bundle, tmp_path / "texts"),
    }
    write_pictures(tmp_path / "empty" / "train", 1)
    shutil.rmtree(tmp_path / "empty" / "train" / "even")
    before = open_bundle(bundle).digest
    for said, (folder, data) in wrong.items():
        if folder == small_bundle:
            data = write_pictures(tmp_path / "some", 2)
        done = shardline("index", "build", "--bundle", str(folder), "--data", str(data), "--replace", code=1)
        assert said in done.stderr, done.stderr
    assert open_bundle(bundle).digest == before


def test_any_classifier_becomes_an_embedding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'tests'}")
    folder, data = tmp_path / "net", write_pictures(tmp_path / "data", 6)
    model = ("services.small_models:residual", "--size", "32", "--pictures", str(data))
    shardline("build", *model, "--embed", "--cuts", "one", "--out", str(folder))
    shardline("index", "build", "--bundle", str(folder), "--data", str(data), "--metric", "l2", "--device", "cpu")
    report = json.loads(shardline("verify", str(folder), "--images", str(data), "--json").stdout)
    refused = shardline("build", *model, "--embed", "--task", "plates", "--out", str(tmp_path / "x"), code=1)

    assert open_bundle(folder).task.name == "retrieve"
    assert open_bundle(folder).stages[-1].outputs[0].shape == ("batch", 8)
    assert (report["equal"], report["pictures"], report["max_abs_difference"]) == (6, 6, 0.0)
    assert "--embed gives a model for --task retrieve, not plates" in refused.stderr
