"""Pictures as clients and servers read them: which decoder, which way up, and which colours.

A picture is recognised by its first bytes, and only six decoders can be reached, called by name: `Image.open` would
import and try every installed plugin. Orientation, transparency and deep grey are treated here alone, so that what a
client makes smaller or draws on is what a server sees.
"""

import io
from collections.abc import Callable

import numpy as np
from PIL import ExifTags, Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from shardline.wire.errors import PictureError
from shardline.wire.v1 import PICTURE_FORMATS, picture_format

Size = tuple[int, int]  # width, height, as Pillow has it

_DECODERS: dict[str, Callable[[io.BytesIO], ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WebP": WebPImageFile,
    "GIF": GifImageFile,
    "BMP": BmpImageFile,
    "TIFF": TiffImageFile,
}
_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPPED_SIDES = (5, 6, 7, 8)


def open_header(picture: bytes) -> ImageFile:
    """Read the header of an encoded picture; its pixels are decoded when they are first used.

    Raises:
        PictureError: not a picture, or a header that cannot be read.
    """
    name = picture_format(picture)
    if name is None:
        raise PictureError(f"not a picture: found {_first_bytes(picture)}; allowed are {', '.join(PICTURE_FORMATS)}")
    try:
        return _DECODERS[name](io.BytesIO(picture))
    except Exception as exc:  # Pillow's decoders raise nearly every built-in error on damaged input
        raise damaged(name, exc) from exc


def damaged(name: str, exc: BaseException) -> PictureError:
    """Error of a picture of the format `name` that a decoder failed on."""
    if isinstance(exc, ValueError) and "too large" in str(exc).lower():
        return PictureError(f"the {name} has a colour profile or texts of over 1 MB ({exc}): save it without metadata")
    return PictureError(f"the {name} is truncated or damaged ({exc}): send the whole file")


def _first_bytes(picture: bytes) -> str:
    return f"the first bytes {picture[:8].hex(' ')}" if picture else "no bytes"


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; other values, and EXIF that cannot be read, count as upright."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # broken EXIF does not spoil a picture, and its reader raises as many errors as the decoders
        return 1
    return value if value in _TRANSPOSES else 1


def upright_size_of(size: Size, orientation: int) -> Size:
    return (size[1], size[0]) if orientation in _SWAPPED_SIDES else size


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """Turn a picture upright by its EXIF orientation."""
    return image.transpose(_TRANSPOSES[orientation]) if orientation in _TRANSPOSES else image


def in_mode(image: Image.Image, mode: str) -> Image.Image:
    """Convert a decoded picture to "RGB", to "L" by Pillow's weights of RGB, both on white, or to "RGBA" as it is.

    Raises:
        PictureError: grey of a kind whose white is not defined.
    """
    if image.mode in ("I", "F"):
        raise PictureError(
            "the picture has 32-bit or floating-point grey, whose white is not defined: save it as 8 bits"
        )
    if image.mode.startswith("I;16"):
        image = _eight_bits(image)
    if _has_unused_alpha(image):
        image = image.convert("RGB")
    # convert() copies even if nothing changes: 200 MB for a picture of 50 megapixels
    if mode == "RGBA":
        return image if image.mode == "RGBA" else image.convert("RGBA")
    if not image.has_transparency_data:
        return image if image.mode == mode else _opaque(image, mode)
    rgba = image if image.mode == "RGBA" else image.convert("RGBA")
    white = Image.new("RGB", rgba.size, "white")
    white.paste(rgba, mask=rgba)
    return white if mode == "RGB" else white.convert(mode)


def _has_unused_alpha(image: Image.Image) -> bool:
    """Tell whether the alpha of a bitmap is 0 everywhere: Windows' captures leave the fourth byte of a pixel unused."""
    is_bitmap = isinstance(image, BmpImageFile) and image.mode == "RGBA"
    return is_bitmap and image.getchannel("A").getextrema() == (0, 0)


def _opaque(image: Image.Image, mode: str) -> Image.Image:
    """Convert a picture without transparency to "RGB", or by way of it to "L"."""
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    return rgb if mode == "RGB" else rgb.convert(mode)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Keep the upper 8 of 9 to 16 bits of grey, as Pillow does for 16-bit colour; for grey it would clip."""
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    bits = int(tags.get(BITSPERSAMPLE, (16,))[0])
    grey = (np.asarray(image) >> (bits - 8)).astype(np.uint8)
    white_is_zero = tags.get(PHOTOMETRIC_INTERPRETATION) == 0
    return Image.fromarray(255 - grey if white_is_zero else grey)
