"""A chain that reads plates, as processes: places come back in pixels of each picture that was sent."""

import base64
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from e2e.conftest import Up, shardline, up
from PIL import Image

from shardline.partition.build import BuildOptions, build
from shardline.partition.models import load_model
from shardline.storage.bundle_folder import open_bundle
from shardline.training.models import for_task

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three stages that run up to four waiting pictures together."""
    folder = tmp_path_factory.mktemp("bundles") / "bright"
    model = for_task(load_model("services.plate_models:bright", size=128), "plates")
    pictures = np.random.default_rng(0).integers(0, 256, (2, 3, 128, 128), dtype=np.uint8)
    build(model, "bright", pictures, BuildOptions(stages=3, batch=4), folder)
    return folder


@pytest.fixture(scope="module")
def chain(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with up(bundle, tmp_path_factory.mktemp("up")) as started:
        yield started


def picture(size: tuple[int, int], box: tuple[int, int, int, int], kind: str = "PNG", **options: Any) -> bytes:
    """Black, with a white rectangle."""
    image = Image.new("RGB", size)
    image.paste("white", box)
    with io.BytesIO() as buffer:
        image.save(buffer, kind, **options)
        return buffer.getvalue()


def assert_there(plates: list[dict[str, Any]], box: tuple[int, int, int, int], within: float) -> None:
    [plate] = plates
    assert (plate["type"], plate["sub_text"], plate["main_text"]) == ("long", "12A", "3456")
    assert plate["box"] == pytest.approx(box, abs=within)
    assert plate["board_center_p"] == pytest.approx(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), abs=within)


SENT = {
    "wide": ((1280, 640), (300, 200, 700, 300)),
    "high": ((500, 2000), (100, 900, 400, 1000)),
    "as large as the input": ((128, 128), (20, 50, 100, 80)),
    "small": ((60, 40), (10, 10, 50, 20)),
}


@pytest.mark.parametrize("case", SENT)
def test_a_plate_s_place_is_in_pixels_of_the_picture_that_was_sent(case: str, chain: Up) -> None:
    size, box = SENT[case]

    reply = chain.post(picture(size, box))

    assert reply.status_code == 200, reply.text
    [plates] = reply.json()["predictions"]
    assert_there(plates, box, within=3 * max(size) / 128)  # softened: three pixels of the input


def test_a_jpeg_decoded_at_reduced_scale_and_turned_by_exif(chain: Up) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # upright it is 3001 x 4003
    size, box = (4003, 3001), (400, 1000, 900, 2600)

    [plates] = chain.post(picture(size, box, "JPEG", exif=exif)).json()["predictions"]

    assert_there(plates, (3001 - 2600, 400, 3001 - 1000, 900), within=3 * 4003 / 128)


def test_requests_that_run_as_one_batch_keep_their_own_places(chain: Up) -> None:
    """Eight clients, each with pictures of its own size, several in a request."""

    def ask(number: int) -> None:
        sizes = [(200 + 90 * number + 50 * each, 300 + 40 * number) for each in range(1 + number % 3)]
        boxes = [(20 * (number % 3 + 1), 30, 150, 90 + 10 * number) for _ in sizes]
        pictures = [picture(size, box) for size, box in zip(sizes, boxes, strict=True)]
        body = {"instances": [{"data": base64.b64encode(each).decode()} for each in pictures]}
        for _ in range(5):
            predictions = requests.post(chain.url, json=body, timeout=60).json()["predictions"]
            for plates, size, box in zip(predictions, sizes, boxes, strict=True):
                assert_there(plates, box, within=3 * max(size) / 128)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [None] * 8


def test_nothing_is_found_in_the_dark_and_a_threshold_is_kept(chain: Up) -> None:
    size, box = SENT["wide"]
    body = {"instances": [{"data": base64.b64encode(picture(size, box)).decode()}], "parameters": {"threshold": 0.95}}

    assert chain.post(picture(size, (0, 0, 0, 0))).json() == {"predictions": [[]]}
    assert requests.post(chain.url, json=body, timeout=60).json() == {"predictions": [[]]}


def test_a_parameter_of_another_task_is_the_client_s_fault(chain: Up) -> None:
    size, box = SENT["wide"]
    body = {"instances": [{"data": base64.b64encode(picture(size, box)).decode()}], "parameters": {"top": 3}}

    reply = requests.post(chain.url, json=body, timeout=60)

    assert "unknown parameters top" in reply.text


@pytest.mark.heavy
def test_the_short_name_is_built_verified_and_has_a_golden_reply(tmp_path: Path) -> None:
    """With random weights it finds nothing, but every number is there."""
    folder = tmp_path / "plates"
    shardline("build", "plates", "--weights", "random:0", "--size", "128", "--stages", "3", "--out", str(folder))
    report = json.loads(shardline("verify", str(folder), "--json").stdout)
    bundle = open_bundle(folder)

    assert (report["equal"], report["max_abs_difference"], report["task"]) == (report["pictures"], 0, "plates")
    assert (bundle.model, bundle.task.name, len(bundle.task.labels)) == ("plates", "plates", 21)
    assert (bundle.picture.fit, bundle.picture.height) == ("letterbox", 128)
    assert json.loads((folder / "golden.json").read_text()) == {"predictions": [[]]}
