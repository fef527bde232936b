"""A picture's bytes -> what is sent: the bytes themselves, or where those are too many, a smaller JPEG."""

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image

from shardline.client.upright import open_upright, stored_size
from shardline.wire.errors import PictureError
from shardline.wire.limits import PIXELS, format_bytes
from shardline.wire.v1 import encode_request, picture_format

Shape = tuple[int, int, int]  # height, width, channels

_QUALITY = 95
_SMALLEST_SIDE = 16
_JPEG_SIDE = 65_500  # the longest that libjpeg writes
_MOST_PIXELS = 1_000_000_000  # 3 GB once decoded: beyond that this machine would suffer more than it could help


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """The body of one request. `resized` tells the shapes before and after, if the picture had to be made smaller."""

    data: bytes
    content_type: str
    resized: tuple[Shape, Shape] | None = None


def fit_body(picture: bytes, parameters: Mapping[str, object], limit_bytes: int) -> Body:
    """One encoded picture -> a body of at most `limit_bytes`: the bare picture, or v1 JSON where there are parameters.

    What is no picture is sent as it is if it is small enough: the server says best what it takes.

    Raises:
        PictureError: too large, and cannot be read or made small enough.
    """
    picture, resized = shrink(picture, _picture_budget(parameters, limit_bytes))
    if parameters:
        return Body(data=encode_request([picture], parameters), content_type="application/json", resized=resized)
    name = picture_format(picture)
    return Body(
        data=picture, content_type=f"image/{name.lower()}" if name else "application/x-picture", resized=resized
    )


def _picture_budget(parameters: Mapping[str, object], limit_bytes: int) -> int:
    """How many bytes of `limit_bytes` are left to the picture: base64 makes four bytes of three."""
    if not parameters:
        return limit_bytes
    return max(0, (limit_bytes - len(encode_request([b""], parameters))) // 4 * 3)


def shrink(picture: bytes, limit_bytes: int) -> tuple[bytes, tuple[Shape, Shape] | None]:
    """The picture itself if it fits, else a smaller upright JPEG and both shapes.

    More pixels than servers decode (shardline.wire.limits.PIXELS) do not fit either, however few their bytes.

    Raises:
        PictureError: too large, and cannot be read or made small enough.
    """
    pixels = math.prod(stored_size(picture) or (0,))
    if len(picture) <= limit_bytes and pixels <= PIXELS:
        return picture, None
    if pixels > _MOST_PIXELS:
        raise PictureError(f"{pixels / 1e6:.0f} megapixels; allowed are {_MOST_PIXELS / 1e6:.0f}: cut it into pieces")
    try:
        image = open_upright(picture)
    except PictureError as exc:
        over = f"{format_bytes(len(picture))} is over the limit of {format_bytes(limit_bytes)}"
        raise PictureError(f"{over} and cannot be made smaller: {exc}") from exc
    # at least a tenth smaller, so that what is said to be resized is
    scale = min(0.9, math.sqrt(PIXELS / (image.width * image.height)), _JPEG_SIDE / max(image.size))
    while max(image.size) * scale >= _SMALLEST_SIDE:
        smaller, shape = _encode(image, scale)
        if len(smaller) <= limit_bytes:
            return smaller, (_shape(image), shape)
        scale *= min(0.9, 0.98 * math.sqrt(limit_bytes / len(smaller)))
    raise PictureError(f"cannot be made smaller than {format_bytes(limit_bytes)}: raise --limit-mb or crop it")


def _encode(image: Image.Image, scale: float) -> tuple[bytes, Shape]:
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    smaller = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    file = io.BytesIO()
    smaller.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue(), _shape(smaller)


def _shape(image: Image.Image) -> Shape:
    return image.height, image.width, len(image.getbands())
