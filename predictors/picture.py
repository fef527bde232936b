"""Decode pictures safely and fit them to the network's input, uint8 [channels, height, width], as torchvision does.

Steps: recognise the format by the first bytes, read the header, refuse a picture that is too large, decode it, make it
RGB or grey (transparency on white) or RGBA, apply its EXIF orientation, and fit it. Only six decoders can be reached,
called by name: `Image.open` would try every installed plugin and check the size against a limit of the whole process.

No exception of Pillow leaves this module: any error of a decoder is reported as the picture's error.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from shardline.predictors.picture_cost import DecodingMemory, LargePicture, decoding_bytes
from shardline.storage.bundle import CHANNELS, PictureSpec
from shardline.wire.errors import BundleError, PictureError
from shardline.wire.limits import Limits
from shardline.wire.picture import Size, damaged, in_mode, open_header, orientation_of, turned, upright_size_of
from shardline.wire.v1 import picture_format
from shardline.wire.view import View, placed_view

Pixels = NDArray[np.uint8]

_INTERPOLATIONS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
}
# the padding that the YOLO family is trained with
_LETTERBOX_GREY: dict[str, int | tuple[int, ...]] = {"L": 114, "RGB": (114,) * 3, "RGBA": (114, 114, 114, 255)}

# A JPEG can be decoded at 1/2, 1/4 or 1/8 of its size, which takes a fraction of the time. Measured on photographs: if
# at least four times the target is left to resize from, no value changes by more than 1 of 255, and a 12-megapixel
# picture takes 50 ms instead of 120; with twice the target, values change by up to 14. At four times, pictures under
# about 1,850 pixels a side stay exact.
_DRAFT_MARGIN = 4

_MEMORY = DecodingMemory()  # of this process


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A picture fitted to the network's input: `pixels` is uint8 [channels, height, width], contiguous."""

    pixels: Pixels
    view: View


def fit_picture(picture: bytes, spec: PictureSpec, limits: Limits, most_bytes: int | None = None) -> Fitted:
    """Decode one picture and fit it to uint8 [spec.channels, spec.height, spec.width], with its view.

    With `most_bytes`, a picture that takes less memory does not wait for others, and a larger one is not decoded.

    Fit "crop" equals torchvision's Resize(spec.resize) and CenterCrop on the PIL image, to the bit, except for JPEGs
    large enough to be decoded at reduced scale (at most 1 of 255 off) and for strips whose resized form would itself be
    over `limits.pixels`.

    Raises:
        PictureError: not a picture, over `limits.pixels`, truncated or damaged, or of a kind with no defined white.
        BundleError: `spec` names an unknown mode, fit or interpolation.
        LargePicture: it takes more than `most_bytes` to decode.
    """
    with _opened(picture, limits, most_bytes) as opened:
        image, size = _load(opened, spec)
        target = _target_size(size, spec)
        placed = _place(_resize(image, target, spec, limits), spec)
        return Fitted(
            pixels=_channels_first(placed),
            view=placed_view(size, target, _corner(target, spec)),
        )


def to_pixels(picture: bytes, spec: PictureSpec, limits: Limits) -> Pixels:
    """Pixels of `fit_picture`: uint8 [spec.channels, spec.height, spec.width]."""
    return fit_picture(picture, spec, limits).pixels


def open_picture(picture: bytes, spec: PictureSpec, limits: Limits) -> Image.Image:
    """Decode one picture, upright and in `spec.mode`, but do not fit it; a large JPEG may be decoded at reduced scale.

    Raises:
        PictureError, BundleError: as `fit_picture`.
    """
    with _opened(picture, limits) as image:
        return _load(image, spec)[0]


def fit_pictures(
    pictures: Sequence[bytes], spec: PictureSpec, limits: Limits, most_bytes: int | None = None
) -> tuple[Pixels, tuple[View, ...]]:
    """Decode and fit several pictures: uint8 [batch, spec.channels, spec.height, spec.width], and views.

    `most_bytes` is for all of them.

    Raises:
        PictureError, LargePicture: as `fit_picture`, an error with the instance's index.
    """
    if most_bytes is not None:
        most_bytes //= len(pictures)
    batch = np.empty((len(pictures), spec.channels, spec.height, spec.width), np.uint8)
    views = []
    for index, picture in enumerate(pictures):
        try:
            fitted = fit_picture(picture, spec, limits, most_bytes)
        except PictureError as exc:
            raise PictureError(f"instance {index}: {exc}") from exc
        batch[index] = fitted.pixels
        views.append(fitted.view)
    return batch, tuple(views)


def pixel_batch(pictures: Sequence[bytes], spec: PictureSpec, limits: Limits) -> Pixels:
    """Pixels of `fit_pictures`: uint8 [batch, spec.channels, spec.height, spec.width]."""
    return fit_pictures(pictures, spec, limits)[0]


@contextmanager
def _opened(picture: bytes, limits: Limits, most_bytes: int | None = None) -> Iterator[ImageFile]:
    """Open a picture by its header, and take the memory of decoding it for the duration of the block."""
    image = open_header(picture)
    try:
        size_bytes = decoding_bytes(image, picture, limits)
        if most_bytes is not None and size_bytes > most_bytes:
            raise LargePicture
        with _MEMORY.taken(size_bytes, limits.decoding_bytes) if most_bytes is None else nullcontext():
            yield image
    except (PictureError, BundleError, LargePicture):
        raise
    except Exception as exc:  # Pillow's decoders raise nearly every built-in error on damaged input
        raise damaged(picture_format(picture) or "picture", exc) from exc


def _load(image: ImageFile, spec: PictureSpec) -> tuple[Image.Image, Size]:
    """Decode, make upright and of the spec's mode, and return the size of the upright picture as it was sent."""
    stored = image.size
    if isinstance(image, JpegImageFile):
        turn = orientation_of(image)
        width, height = upright_size_of(_target_size(upright_size_of(stored, turn), spec), turn)
        image.draft(None, (width * _DRAFT_MARGIN, height * _DRAFT_MARGIN))
    image.load()
    turn = orientation_of(image)  # read again: loading rotates a TIFF, and a PNG may have its EXIF behind the pixels
    converted = _in_mode(image, spec.mode)
    return turned(converted, turn), upright_size_of(stored, turn)


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    """Convert a decoded picture to "RGB", to "L" by Pillow's weights of RGB, both on white, or to "RGBA" as it is."""
    if mode not in CHANNELS:
        raise BundleError(f"the picture's mode is {mode!r}; allowed are {', '.join(CHANNELS)}: build the bundle again")
    return in_mode(image, mode)


def _target_size(size: Size, spec: PictureSpec) -> Size:
    """Size that an upright picture is resized to, before it is cropped or padded."""
    width, height = size
    match spec.fit:
        case "crop":
            # torchvision's own arithmetic, with its truncation and order of operations
            side = spec.resize or max(spec.width, spec.height)
            return (side, int(side * height / width)) if width <= height else (int(side * width / height), side)
        case "stretch":
            return spec.width, spec.height
        case "letterbox":
            scale = min(spec.width / width, spec.height / height)
            return max(1, round(width * scale)), max(1, round(height * scale))
    raise BundleError(
        f"the picture's fit is {spec.fit!r}; allowed are crop, stretch and letterbox: build the bundle again"
    )


def _resize(image: Image.Image, target: Size, spec: PictureSpec, limits: Limits) -> Image.Image:
    if spec.interpolation not in _INTERPOLATIONS:
        raise BundleError(f"the interpolation is {spec.interpolation!r}; allowed are {', '.join(_INTERPOLATIONS)}")
    method = _INTERPOLATIONS[spec.interpolation]
    if target[0] * target[1] <= limits.pixels:
        return image.resize(target, method)
    # A strip of 20000 x 1 would become 4.6 million x 232, of which the crop keeps 224: resize only that part.
    left, top, right, bottom = _centre_box(target, (min(target[0], spec.width), min(target[1], spec.height)))
    across, down = image.width / target[0], image.height / target[1]
    return image.resize(
        (right - left, bottom - top), method, (left * across, top * down, right * across, bottom * down)
    )


def _channels_first(image: Image.Image) -> Pixels:
    """Pixels as uint8 [channels, height, width], contiguous."""
    pixels = np.asarray(image)
    return np.ascontiguousarray(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))


def _corner(resized: Size, spec: PictureSpec) -> tuple[int, int]:
    """Position of the upper left corner of a resized picture in the input, made in full or only in the part kept."""
    if spec.fit == "letterbox":
        return (spec.width - resized[0]) // 2, (spec.height - resized[1]) // 2
    left, top, _, _ = _centre_box(resized, (spec.width, spec.height))
    return -left, -top


def _place(image: Image.Image, spec: PictureSpec) -> Image.Image:
    """Crop or pad a resized picture to the input size."""
    wanted = spec.width, spec.height
    if spec.fit == "letterbox":
        canvas = Image.new(spec.mode, wanted, _LETTERBOX_GREY[spec.mode])
        canvas.paste(image, _corner(image.size, spec))
        return canvas
    return image if image.size == wanted else image.crop(_centre_box(image.size, wanted))


def _centre_box(size: Size, wanted: Size) -> tuple[int, int, int, int]:
    """Box of torchvision's CenterCrop; where it reaches beyond the picture, the crop is padded with black."""
    left, top = (
        -((want - have) // 2) if want > have else round((have - want) / 2)
        for have, want in zip(size, wanted, strict=True)
    )
    return left, top, left + wanted[0], top + wanted[1]
