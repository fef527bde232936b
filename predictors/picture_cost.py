"""Cost of decoding a picture, judged by its header and markers before a pixel is decoded.

A file of a few hundred bytes can claim any size, and a decoder takes the memory before it finds that the pixels are
missing. What is bounded is the memory of decoding, fitting included, and the passes over the pixels. The bytes for each
pixel are the largest of 26 measured forms of 20 megapixels: LA in PNG and CMYK in JPEG take 12, WebP takes 18.
"""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from shardline.wire.errors import PictureError
from shardline.wire.limits import MIB, PIXEL_BYTES, Limits, format_bytes

SMALL_BYTES = 96 * MIB  # of a picture that never waits for large ones: 8 megapixels
_SIDE_LIMIT = 65_535  # JPEG's own; Pillow keeps 8 bytes for each row, so a thin picture would cost more than its pixels
_WEBP_PIXEL_BYTES = 18

# A progressive JPEG has about 10 scans. Each scan costs a pass over all pixels and may be only a few bytes long, so a
# small file could keep a core busy for an hour.
_SCANS_LIMIT = 100
_SCANNED_PIXELS = 1_000_000_000  # 20 scans of 50 megapixels: about 10 s of a core
# without the stuffing, TEM and restart markers, which have no length
_JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")

_TILE_WIDTH, _TILE_LENGTH = 322, 323  # TIFF tags


class LargePicture(Exception):  # noqa: N818  # control flow: no user meets it
    """A picture takes more memory than the caller has for it now."""


def decoding_bytes(image: ImageFile, picture: bytes, limits: Limits) -> int:
    """Estimate the memory of decoding and fitting a picture, in bytes.

    Args:
        image: the opened picture, of which only the header has been read.
        picture: the file.

    Raises:
        PictureError: it costs more than `limits` allow.
    """
    width, height = image.size
    if max(width, height) > _SIDE_LIMIT:
        raise PictureError(f"the picture has {width} x {height} pixels; allowed are {_SIDE_LIMIT} a side: cut it up")
    pixels = width * height
    _check_pixels(f"the picture has {width} x {height}", pixels, limits)
    if isinstance(image, JpegImageFile):
        _check_scans(picture, pixels)
    if isinstance(image, TiffImageFile):
        pixels = _tiled_pixels(image, limits)
    size_bytes = pixels * (_WEBP_PIXEL_BYTES if isinstance(image, WebPImageFile) else PIXEL_BYTES)
    if size_bytes > limits.decoding_bytes:
        raise PictureError(
            f"the picture has {width} x {height} pixels, which take {format_bytes(size_bytes)} to decode as "
            f"{image.format}; allowed are {format_bytes(limits.decoding_bytes)}: send a smaller one, or a JPEG"
        )
    return size_bytes


def _check_pixels(found: str, pixels: int, limits: Limits) -> None:
    if pixels > limits.pixels:
        raise PictureError(
            f"{found} = {pixels / 1e6:.1f} megapixels; allowed are {limits.pixels / 1e6:.1f}: send a smaller one"
        )


def _tiled_pixels(image: TiffImageFile, limits: Limits) -> int:
    """Number of pixels in all tiles of a TIFF, which may be much larger than the picture that they cover."""
    width, height = image.size
    tile_width, tile_length = (int(image.tag_v2.get(tag) or 1) for tag in (_TILE_WIDTH, _TILE_LENGTH))
    padded_width, padded_height = -(-width // tile_width) * tile_width, -(-height // tile_length) * tile_length
    _check_pixels(f"the TIFF's tiles have {padded_width} x {padded_height}", padded_width * padded_height, limits)
    return padded_width * padded_height


def _check_scans(jpeg: bytes, pixels: int) -> None:
    allowed = min(_SCANS_LIMIT, max(1, _SCANNED_PIXELS // max(1, pixels)))
    if jpeg.count(b"\xff\xda") <= allowed:
        return
    scans = _count_scans(jpeg)  # exactly, since a film behind the picture may contain those two bytes by chance
    if scans > allowed:
        raise PictureError(f"the JPEG has {scans} scans; allowed are {allowed}: save it again as a usual JPEG")


def _count_scans(jpeg: bytes) -> int:
    scans, at = 0, 2
    while (marker := _JPEG_MARKER.search(jpeg, at)) and marker[0] != b"\xff\xd9":
        scans += marker[0] == b"\xff\xda"
        at = marker.end() + int.from_bytes(jpeg[marker.end() : marker.end() + 2], "big")
    return scans


class DecodingMemory:
    """Memory of all threads that decode: one picture of the largest size, or several smaller ones at a time."""

    def __init__(self) -> None:
        self._taken_bytes = 0
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, size_bytes: int, limit_bytes: int) -> Iterator[None]:
        """Wait until there are so many bytes below the limit, and take them for the duration of the block."""
        with self._changed:
            self._changed.wait_for(lambda: not self._taken_bytes or self._taken_bytes + size_bytes <= limit_bytes)
            self._taken_bytes += size_bytes
        try:
            yield
        finally:
            with self._changed:
                self._taken_bytes -= size_bytes
                self._changed.notify_all()
