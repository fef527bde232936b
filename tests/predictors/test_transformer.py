"""The transformer in front of a real stage: every picture and every bad input of the design's table."""

import base64
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image
from services.chains import one_by_one
from services.processes import ROOT, answers, free_port, server, stop

from shardline.predictors.picture import fit_pictures, pixel_batch
from shardline.storage.bundle import Bundle
from shardline.storage.bundle_folder import open_bundle
from shardline.wire.frame import Frame, decode, encode
from shardline.wire.limits import BODY_BYTES, REQUEST_BYTES

pytestmark = pytest.mark.slow

MAX_INSTANCES = 5


@dataclass(frozen=True, slots=True)
class Pair:
    """A transformer and its predictor, both processes."""

    url: str
    predictor: "subprocess.Popen[bytes]"

    def post(self, body: bytes | Iterator[bytes], **headers: str) -> requests.Response:
        return requests.post(self.url, data=body, headers=headers, timeout=60)


@pytest.fixture(scope="module")
def bundle(small_bundle: Path) -> Bundle:
    return open_bundle(small_bundle)


@pytest.fixture(scope="module")
def pair(small_bundle: Path, bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    yield from run_pair(small_bundle, bundle, tmp_path_factory.mktemp("logs"))


@pytest.fixture
def own_pair(small_bundle: Path, bundle: Bundle, tmp_path: Path) -> Iterator[Pair]:
    """A pair whose predictor a test may end."""
    yield from run_pair(small_bundle, bundle, tmp_path)


def run_pair(folder: Path, bundle: Bundle, logs: Path, *arguments: str) -> Iterator[Pair]:
    ports = free_port(), free_port()
    shard = (f"--model_dir={folder}/stages/0", f"--bundle_digest={bundle.digest}")
    transformer = (
        f"--predictor_host=127.0.0.1:{ports[1]}",
        f"--bundle_digest={bundle.digest}",
        f"--input_size={bundle.picture.height}x{bundle.picture.width}",
        f"--resize={bundle.picture.resize}",
        f"--max_instances={MAX_INSTANCES}",
        *arguments,
    )
    with (
        server("shardline.predictors.shard", *shard, log=logs / "shard", name="small-0", port=ports[1]) as predictor,
        server(
            "shardline.predictors.transformer", *transformer, log=logs / "transformer", name="small-0", port=ports[0]
        ),
    ):
        yield Pair(f"http://127.0.0.1:{ports[0]}/v1/models/small-0:predict", predictor)


def picture_bytes(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    with io.BytesIO() as buffer:
        image.save(buffer, kind, **options)
        return buffer.getvalue()


def instances(*entries: object) -> bytes:
    return json.dumps({"instances": entries}).encode()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def error_of(reply: requests.Response) -> str:
    return str(reply.json()["error"])


BODIES: dict[str, Callable[[bytes], bytes]] = {
    "raw": lambda data: data,
    "image_bytes": lambda data: instances({"image_bytes": {"b64": b64(data)}}),
    "image": lambda data: instances({"image": {"b64": b64(data)}}),
    "data": lambda data: instances({"data": b64(data)}),
    "string": lambda data: instances(b64(data)),
}


@pytest.mark.parametrize("shape", BODIES)
@pytest.mark.parametrize(
    "label", ["application/json", "image/jpeg", "application/octet-stream", "application/json; charset=utf-8"]
)
def test_a_photograph_becomes_stage_0_s_answer_in_every_shape_under_every_label(
    shape: str, label: str, pair: Pair, small_bundle: Path, bundle: Bundle, photographs: list[bytes]
) -> None:
    reply = pair.post(BODIES[shape](photographs[0]), **{"content-type": label})
    found = decode(reply.content)
    pixels = pixel_batch([photographs[0]], bundle.picture, bundle.limits)

    assert reply.status_code == 200
    assert (found.stage, found.bundle) == (1, bundle.digest)
    assert list(found.timings) == ["transformer", "0"]
    for name, expected in one_by_one(small_bundle, pixels)[0].items():
        assert np.array_equal(found.tensors[name], expected)


def test_several_pictures_make_one_batch_in_order(
    pair: Pair, small_bundle: Path, bundle: Bundle, photographs: list[bytes]
) -> None:
    chosen = photographs[:3]
    reply = pair.post(instances(*({"data": b64(picture)} for picture in chosen)))
    pixels = pixel_batch(chosen, bundle.picture, bundle.limits)

    for name, expected in one_by_one(small_bundle, pixels)[0].items():
        assert np.array_equal(decode(reply.content).tensors[name], expected)


def test_a_picture_over_6_mb_is_answered(pair: Pair) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1600, 1800, 3), dtype=np.uint8)
    picture = picture_bytes(Image.fromarray(noise))

    assert len(picture) > REQUEST_BYTES
    assert pair.post(picture).status_code == 200
    assert pair.post(instances({"data": b64(picture)})).status_code == 200


def test_parameters_travel_with_the_frame(pair: Pair, photographs: list[bytes]) -> None:
    body = json.dumps({"instances": [b64(photographs[0])], "parameters": {"top": 2}}).encode()

    assert decode(pair.post(body).content).parameters == {"top": 2}


def test_where_the_pixels_lie_in_each_picture_travels_with_the_frame(
    pair: Pair, bundle: Bundle, photographs: list[bytes]
) -> None:
    reply = pair.post(instances(*({"data": b64(picture)} for picture in photographs[:3])))

    assert decode(reply.content).views == fit_pictures(photographs[:3], bundle.picture, bundle.limits)[1]


def test_the_request_s_ids_travel_with_the_frame(pair: Pair, photographs: list[bytes]) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    reply = pair.post(photographs[0], **{"x-request-id": "abc", "traceparent": trace})

    assert (decode(reply.content).request_id, decode(reply.content).traceparent) == ("abc", trace)


@pytest.mark.parametrize("odd", ["a\tb", "caf\xe9", "a" * 300])
def test_an_id_that_no_frame_can_carry_is_replaced(odd: str, pair: Pair, photographs: list[bytes]) -> None:
    reply = pair.post(photographs[0], **{"x-request-id": odd})

    assert reply.status_code == 200
    assert re.fullmatch("[0-9a-f]{32}", decode(reply.content).request_id)


def truncated_png() -> bytes:
    data = picture_bytes(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)))
    return data[: len(data) // 2]


def bomb() -> bytes:
    """A PNG that says it has 20000 × 20000 pixels."""
    return picture_bytes(Image.new("1", (20000, 20000)))


GOOD = b64(picture_bytes(Image.new("RGB", (8, 8), "red")))
BAD_BODIES: dict[str, tuple[Callable[[], bytes], int, str]] = {
    "not a picture": (lambda: instances({"data": b64(b"hello, this is text")}), 400, "instance 0"),
    "the second is none": (lambda: instances({"data": GOOD}, {"data": b64(b"no")}), 400, "instance 1"),
    "truncated": (lambda: instances({"data": GOOD}, {"data": GOOD}, b64(truncated_png())), 400, "instance 2"),
    "truncated, raw": (truncated_png, 400, "instance 0"),
    "unknown key": (lambda: instances({"picture": GOOD}), 400, "instance 0"),
    "bad base64": (lambda: instances({"data": "§§§"}), 400, "instance 0"),
    "empty instances": (lambda: b'{"instances": []}', 400, "instances"),
    "no instances": (lambda: b"{}", 400, "instances"),
    "instances no list": (lambda: b'{"instances": {"data": 1}}', 400, "instances"),
    "an unknown key on top": (lambda: b'{"instances": ["x"], "signature": 1}', 400, "signature"),
    "empty body": (lambda: b"", 400, "empty"),
    "neither JSON nor picture": (lambda: b"hello", 400, "JSON"),
    "NaN": (lambda: b'{"instances": [NaN]}', 400, ""),
    "decompression bomb": (bomb, 400, "megapixels"),
    "too many instances": (lambda: instances(*[{"data": GOOD}] * (MAX_INSTANCES + 1)), 413, str(MAX_INSTANCES)),
    "a frame": (lambda: encode(Frame(tensors={}, bundle="x", stage=0)), 400, "not frames"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_BODIES)
def test_a_bad_body_gets_its_status_and_one_clear_line(case: str, pair: Pair) -> None:
    make, status, message = BAD_BODIES[case]

    reply = pair.post(make())

    assert reply.status_code == status, reply.text
    assert error_of(reply).startswith("transformer of small-0: ")
    assert message in error_of(reply).replace(",", "").replace("_", "")
    assert "\n" not in error_of(reply)


def test_a_body_over_the_hard_limit_is_413_declared_or_chunked(pair: Pair) -> None:
    size = BODY_BYTES + 1024**2

    declared = pair.post(bytes(size))
    chunked = pair.post(iter([bytes(1024**2)] * (size // 1024**2)))

    for reply in (declared, chunked):
        assert reply.status_code == 413
        assert str(BODY_BYTES) in error_of(reply)
        assert "send a smaller picture" in error_of(reply)


def test_the_wrong_bundle_s_409_comes_through(
    small_bundle: Path, other_bundle: Path, tmp_path: Path, photographs: list[bytes]
) -> None:
    pairs = run_pair(
        small_bundle, open_bundle(small_bundle), tmp_path, f"--bundle_digest={open_bundle(other_bundle).digest}"
    )

    reply = next(pairs).post(photographs[0])
    pairs.close()  # type: ignore[attr-defined]

    assert reply.status_code == 409
    assert error_of(reply).startswith("small-0: the frame belongs to bundle")


def test_a_predictor_that_is_gone_is_503_and_comes_back(own_pair: Pair, photographs: list[bytes]) -> None:
    own_pair.predictor.kill()
    stop(own_pair.predictor)

    reply = own_pair.post(photographs[0])

    assert reply.status_code == 503
    assert reply.headers["retry-after"] == "1"
    assert "does not answer" in error_of(reply)
    assert answers(own_pair.url.partition("/v1")[0])


def test_a_deadline_is_504(small_bundle: Path, bundle: Bundle, tmp_path: Path, photographs: list[bytes]) -> None:
    pairs = run_pair(small_bundle, bundle, tmp_path, "--request_timeout_ms=0")

    reply = next(pairs).post(photographs[0])
    pairs.close()  # type: ignore[attr-defined]

    assert reply.status_code == 504


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input_size=8x8", "--bundle_digest=x"], "either --predictor_host, HOST:PORT of stage 0's predictor"),
        (["--input_size=8x8", "--predictor_host=h"], "--bundle_digest is missing"),
        (["--input_size=8", "--predictor_host=h", "--bundle_digest=x"], "write HEIGHTxWIDTH"),
    ],
)
def test_missing_arguments_end_the_process_with_one_line(arguments: list[str], message: str) -> None:
    command = [sys.executable, "-m", "shardline.predictors.transformer", "--model_name=x", *arguments]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert result.returncode != 0
    assert message in result.stderr
    assert "Traceback" not in result.stderr
