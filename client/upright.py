"""A picture's bytes -> its pixels as whoever looks at it has them: upright, RGB or grey."""

import io

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from shardline.wire.errors import PictureError

Size = tuple[int, int]  # width, height

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
_SIDEWAYS = (5, 6, 7, 8)  # EXIF's orientations that swap width and height


def open_upright(picture: bytes) -> Image.Image:
    """Decode, turn as EXIF says, and make it RGB (transparency on white) or grey.

    Raises:
        PictureError: no picture, or truncated or damaged.
    """
    try:
        image = Image.open(io.BytesIO(picture), formats=_FORMATS)
        return _without_alpha(ImageOps.exif_transpose(image))
    except UnidentifiedImageError as exc:
        raise PictureError("not a JPEG, PNG, WebP, GIF, BMP or TIFF") from exc
    except Exception as exc:  # Pillow's readers raise nearly every built-in error on damaged input
        raise PictureError(f"truncated or damaged ({exc})") from exc


def stored_size(picture: bytes) -> Size | None:
    """By the header, before it is turned; None if that cannot be read."""
    try:
        with Image.open(io.BytesIO(picture), formats=_FORMATS) as image:
            return image.size
    except Exception:  # as above
        return None


def upright_size(picture: bytes) -> Size | None:
    """As `open_upright` will have it, mostly without decoding; None if that cannot be read."""
    try:
        with Image.open(io.BytesIO(picture), formats=_FORMATS) as image:
            if image.format == "TIFF":
                image.load()  # it turns itself while loading
            turned = image.getexif().get(ExifTags.Base.Orientation) in _SIDEWAYS
            return (image.height, image.width) if turned else image.size
    except Exception:  # as above
        return None


def _without_alpha(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))  # Pillow would clip
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.new("RGB", image.size, "white")
        image.paste(rgba, mask=rgba)
    return image if image.mode == "L" else image.convert("RGB")
