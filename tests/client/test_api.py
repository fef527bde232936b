"""`shardline.Client` against real servers: all kinds of pictures, sync and async, with the command's requests."""

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from services.scripted import Seen
from services.tls_server import serving_tls

from shardline.client.api import Client, Picture, encode_picture
from shardline.client.pictures import pictures_below
from shardline.client.predictor import RequestOptions
from shardline.client.target import Reply
from shardline.wire.errors import FileError, PictureError, PredictorDownError, PredictorError, UsageError
from shardline.wire.limits import MIB

ANSWER = {"json": {"predictions": [{"label": "cat", "index": 1, "score": 0.9}]}}
SIZES = {"json": {"predictions": [{"bytes": "SIZE"}]}}


def decoded(body: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.asarray(Image.open(io.BytesIO(body)))


def asked_about(serve: Any, picture: Picture) -> Seen:
    """The one request about a picture."""
    server = serve({"POST /": [ANSWER]})
    with Client(server.url) as client:
        reply = client.ask(picture)

    assert reply.predictions == tuple(ANSWER["json"]["predictions"])
    (request,) = server.requests()
    seen: Seen = request
    return seen


def test_paths_and_bytes_are_sent_as_they_are(serve: Any, photo: Path) -> None:
    data = photo.read_bytes()

    for picture in (photo, str(photo), data):
        request = asked_about(serve, picture)
        assert (request.headers["Content-Type"], request.body) == ("image/jpeg", data)


@pytest.mark.parametrize("shape", [(40, 60, 3), (40, 60)])
def test_arrays_are_sent_without_loss(serve: Any, shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    request = asked_about(serve, pixels[::-1])

    assert request.headers["Content-Type"] == "image/png"
    assert np.array_equal(decoded(request.body), pixels[::-1])


def test_a_pillow_picture_is_sent_as_its_file_would_be_decoded(serve: Any, tmp_path: Path) -> None:
    """Turned as its EXIF says, with white where it is transparent."""
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("RGBA", (60, 40), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 30, 40))
    image.save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as opened:
        pixels = decoded(asked_about(serve, opened).body)

    assert pixels.shape == (60, 40, 3)
    assert pixels[0, 0].tolist() == [0, 0, 255]
    assert pixels[-1, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [
        (np.float32, (4, 4, 3)),
        *((np.uint8, shape) for shape in ((4, 4, 4), (3, 4, 4), (2, 4, 4, 3), (0, 4, 3), (4,))),
    ],
)
def test_other_arrays_are_refused(dtype: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(PictureError, match=r"is not a picture; allowed are uint8 \[height, width, 3\]"):
        encode_picture(np.zeros(shape, dtype))


@pytest.mark.parametrize("mode", ["I", "F"])
def test_grey_without_a_defined_white_is_refused(mode: str) -> None:
    with pytest.raises(PictureError, match=f"mode '{mode}' has no defined white"):
        encode_picture(Image.new(mode, (4, 4)))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"none\.jpg: cannot be read \(No such file or directory\)"):
        Client().ask(tmp_path / "none.jpg")


def test_a_picture_over_the_limit_is_sent_as_a_smaller_copy(serve: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1300, 1700, 3), np.uint8)
    request = asked_about(serve, pixels)

    assert request.headers["Content-Type"] == "image/jpeg"
    assert MIB < len(request.body) <= 6 * MIB


def test_several_pictures_come_back_in_order(serve: Any, photos: Path) -> None:
    """The first reply waits until all four requests are there."""
    paths = pictures_below(photos)
    server = serve({"POST /": [{**SIZES, "after": len(paths)}, SIZES]})
    with Client(server.url, options=RequestOptions(jobs=len(paths))) as client:
        replies = client.ask_many(paths)

    assert len(paths) == 4
    assert [reply.predictions for reply in replies] == [({"bytes": str(path.stat().st_size)},) for path in paths]


def test_async_requests_run_at_the_same_time(serve: Any, photo: Path) -> None:
    server = serve({"POST /": [{**SIZES, "after": 3}]})

    async def ask() -> tuple[Reply, list[Reply]]:
        async with Client(server.url) as client:
            return await asyncio.gather(client.ask_async(photo), client.ask_many_async([photo, photo]))

    alone, together = asyncio.run(ask())
    assert [reply.predictions for reply in (alone, *together)] == [({"bytes": str(photo.stat().st_size)},)] * 3


def test_headers_token_and_parameters_are_sent(serve: Any, photo: Path) -> None:
    server = serve({"POST /here": [{"json": {"predictions": [], "timings": {"0": 1.5}}}]})
    options = RequestOptions(parameters={"timings": True})
    client = Client(f"{server.url}/here", token="ey.J", headers={"Host": "m.example.com"}, options=options)
    reply = client.ask(photo)
    client.close()

    assert (reply.timings, reply.requests) == ({"0": 1.5}, 1)
    (request,) = server.requests()
    assert request.headers["Authorization"] == "Bearer ey.J"
    assert request.headers["Host"] == "m.example.com"
    assert json.loads(request.body)["parameters"] == {"timings": True}


def test_small_plates_are_read_in_a_second_pass(reader: Any) -> None:
    """From an array, by the same requests as the command's."""
    pixels = np.zeros((1500, 2000, 3), np.uint8)
    pixels[1000:1018, 500:575] = (255, 0, 255)
    with Client(reader.url) as client:
        reply = client.ask(pixels)

    ((plate,),) = reply.predictions
    assert (plate["sub_text"], plate["main_text"]) == ("12A", "3456")
    assert plate["box"] == pytest.approx([500, 1000, 575, 1018], abs=2)
    assert reply.requests == len(reader.requests()) == 3


def test_errors_have_the_servers_status_and_text(serve: Any, photo: Path) -> None:
    server = serve({"POST /": [ANSWER, {"status": 413, "json": {"error": "too many pixels"}}]})
    client = Client(server.url, options=RequestOptions(jobs=1))

    with pytest.raises(PredictorError, match="413: too many pixels") as raised:
        client.ask_many([photo, photo])
    assert raised.value.status == 413


def test_a_server_that_is_away_and_a_url_that_is_none(photo: Path) -> None:
    with pytest.raises(PredictorDownError, match="does not answer"):
        Client("127.0.0.1:1", retries=0).ask(photo)
    with pytest.raises(UsageError, match="is not a URL"):
        Client("ftp://host")


def test_certificates_are_checked_unless_told_otherwise(photo: Path, certificate: Path) -> None:
    with serving_tls(certificate, ANSWER["json"]) as url:
        with pytest.raises(PredictorDownError, match="no TLS"):
            Client(url, retries=0).ask(photo)
        for verify in (certificate, False):
            assert Client(url, verify=verify, retries=0).ask(photo).predictions
