"""Pictures are found, and requests stay under their limit with as little change to a picture as possible."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shardline.client.pictures import fit_body, shrink
from shardline.wire.errors import PictureError
from shardline.wire.limits import MIB
from shardline.wire.v1 import parse_request


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(width: int, height: int) -> Image.Image:
    """Random pixels, which compress worst."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def test_a_picture_that_fits_is_sent_unchanged(photo: Path) -> None:
    body = fit_body(photo.read_bytes(), {}, 6 * MIB)

    assert (body.data, body.content_type, body.resized) == (photo.read_bytes(), "image/jpeg", None)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WebP", "JPEG"])
def test_too_large_a_picture_becomes_a_smaller_jpeg_of_the_same_aspect(kind: str) -> None:
    picture = encode(noise(800, 500), kind, quality=100)
    body = fit_body(picture, {}, 200_000)

    smaller = opened(body.data)
    assert len(body.data) <= 200_000
    assert len(body.data) > 100_000
    assert (smaller.format, body.content_type) == ("JPEG", "image/jpeg")
    assert body.resized == ((500, 800, 3), (smaller.height, smaller.width, 3))
    assert smaller.width / smaller.height == pytest.approx(1.6, rel=0.01)


def test_the_limit_counts_base64_and_json() -> None:
    body = fit_body(encode(noise(400, 400), "PNG"), {"top": 3}, 100_000)

    assert body.content_type == "application/json"
    assert 50_000 < len(body.data) <= 100_000
    request = parse_request(body.data)
    assert request.parameters == {"top": 3}
    assert opened(request.pictures[0]).format == "JPEG"


def test_a_rotated_picture_is_made_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = noise(600, 300)
    image.paste("red", (0, 0, 300, 300))
    data, resized = shrink(encode(image, "JPEG", quality=100, exif=exif), 60_000)

    smaller = opened(data)
    assert resized is not None
    assert resized[0] == (600, 300, 3)
    assert smaller.height > smaller.width
    assert not smaller.getexif()
    np.testing.assert_allclose(np.asarray(smaller)[smaller.height // 4, smaller.width // 2], (254, 0, 0), atol=12)


def test_transparency_becomes_white_and_sixteen_bits_stay_grey() -> None:
    clear = encode(Image.fromarray(np.random.default_rng(0).integers(0, 2, (300, 300, 4), np.uint8), "RGBA"), "PNG")
    ramp = encode(Image.fromarray((np.arange(90_000) * 7919 % 65536).astype(np.uint16).reshape(300, 300)), "PNG")

    assert np.asarray(opened(shrink(clear, len(clear) - 1)[0])).min() > 250
    data, resized = shrink(ramp, len(ramp) - 1)
    assert resized is not None
    assert resized[0] == (300, 300, 1)
    assert 100 < np.asarray(opened(data)).mean() < 156


def test_more_pixels_than_servers_decode_do_not_fit_either() -> None:
    data, resized = shrink(encode(Image.new("1", (8000, 8000)), "PNG"), 6 * MIB)

    assert resized is not None
    assert resized[0][:2] == (8000, 8000)
    assert opened(data).width * opened(data).height <= 50_000_000


def test_other_bytes_are_left_to_the_server_unless_too_large() -> None:
    assert fit_body(b"hello", {}, 100).data == b"hello"

    with pytest.raises(PictureError, match=r"is over the limit of 0\.0 MiB and cannot be made smaller: not a picture"):
        fit_body(b"hello" * 100, {}, 100)
    with pytest.raises(PictureError, match="cannot be made smaller: the PNG is truncated or damaged"):
        shrink(encode(noise(100, 100), "PNG")[:9000], 5000)


@pytest.mark.parametrize("limit_bytes", [0, 1, 300])
def test_a_limit_that_no_picture_meets_is_reported(limit_bytes: int) -> None:
    with pytest.raises(PictureError, match="raise --limit-mib"):
        shrink(encode(noise(100, 100), "PNG"), limit_bytes)


def test_thin_pictures_can_be_made_smaller() -> None:
    data, resized = shrink(encode(noise(70_000, 3), "PNG"), 600_000)

    assert resized is not None
    assert resized[0] == (3, 70_000, 3)
    assert 40_000 < opened(data).width <= 65_500


def test_the_command_reports_a_smaller_copy(client: Any, serve: Any, tmp_path: Path, answer: Any) -> None:
    server = serve({"POST /": [answer]})
    path = tmp_path / "large.png"
    path.write_bytes(encode(noise(1700, 1300), "PNG"))
    result = client(path, "--url", server.url, "--json")

    assert result.code == 0
    assert json.loads(result.out)["image"] == str(path)
    (request,) = server.requests()
    sent = opened(request.body)
    assert len(request.body) <= 6 * MIB
    assert result.err == f"Resizing from [1300, 1700, 3] to [{sent.height}, {sent.width}, 3]\n"
