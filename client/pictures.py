"""Picture files: finding them in folders, reading them, decoding them upright, and fitting them into a request."""

import io
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from shardline.client.download import PictureURL, is_url
from shardline.wire.errors import FileError, PictureError
from shardline.wire.files import PICTURE_BYTES, read_bounded
from shardline.wire.limits import PIXELS, format_bytes
from shardline.wire.picture import Size, damaged, in_mode, open_header, orientation_of, turned, upright_size_of
from shardline.wire.v1 import encode_request, picture_format

Shape = tuple[int, int, int]  # height, width, channels
Source = Path | PictureURL  # of a picture; Path("-") is stdin

STDIN = Path("-")
PICTURE_SUFFIXES = (".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

NO_INPUTS: Mapping[str, object] = {}
_SYSTEM_FOLDERS = ("__MACOSX", "@eaDir", "lost+found")  # of macOS archives, Synology's servers, file systems
_JPEG_QUALITY = 95
_MIN_SIDE_PX = 16
_JPEG_SIDE_PX = 65_500  # the longest side that libjpeg writes
_DECODED_PIXELS = 1_000_000_000  # 3 GB in memory: beyond that, decoding would exhaust this machine


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestBody:
    """Body of one predict request. `resized` has the shapes before and after if the picture had to be made smaller."""

    data: bytes
    content_type: str
    resized: tuple[Shape, Shape] | None = None


def source_of(text: str) -> Source:
    """The source that an argument names: a path, - for stdin, or an http or https URL."""
    return PictureURL(url=text) if is_url(text) else Path(text)


def read_source(source: Source, timeout_s: float) -> bytes:
    """Read a picture's bytes; a URL is downloaded within `timeout_s`.

    Raises:
        FileError: it cannot be read or downloaded.
    """
    if isinstance(source, PictureURL):
        return source.download(timeout_s)
    try:
        return _read_stdin() if source == STDIN else read_bounded(source, PICTURE_BYTES)
    except OSError as exc:
        raise FileError(f"cannot be read ({exc.strerror})") from exc


def _read_stdin() -> bytes:
    data = sys.stdin.buffer.read(PICTURE_BYTES + 1)
    if len(data) > PICTURE_BYTES:
        raise FileError(f"standard input has more than {format_bytes(PICTURE_BYTES)}, the most that is read")
    return data


def find_pictures(given: Sequence[Source]) -> list[Source]:
    """List the pictures that arguments name: files and URLs as they are, - for stdin, folders as all pictures below.

    Raises:
        FileError: a path does not exist, or there is no picture at all.
    """
    paths: list[Source] = []
    for path in given:
        if isinstance(path, PictureURL) or path == STDIN:
            paths.append(path)
            continue
        if not os.path.exists(path):  # noqa: PTH110 - Path.exists raises where a folder may not be searched
            raise FileError(f"{path}: no such file or folder")
        paths += pictures_below(path) if path.is_dir() else [path]
    if not paths:
        raise FileError(f"no pictures in {', '.join(map(str, given))}: looked for {' '.join(PICTURE_SUFFIXES)}")
    return paths


def pictures_below(folder: Path) -> list[Path]:
    """All pictures in a folder and its subfolders by their suffixes, sorted; hidden files and folders are left out."""
    found: list[Path] = []
    visited: set[str] = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in visited:  # a link that leads back up
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        found += [Path(parent, name) for name in files if has_picture_suffix(name) and not is_hidden(name)]
    return sorted(found)


def is_hidden(name: str) -> bool:
    """Tell whether a file or folder is no data but some system's own: `._a.jpg`, `.ipynb_checkpoints`, `__MACOSX`."""
    return name.startswith(".") or name in _SYSTEM_FOLDERS


def display_name(path: str | Path) -> str:
    """Name of a file as text: bytes that are not UTF-8 are escaped, so that it can be printed and stored."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def has_picture_suffix(name: str) -> bool:
    """Tell by its suffix whether a file is a picture."""
    return name.lower().endswith(PICTURE_SUFFIXES)


def open_upright(picture: bytes) -> Image.Image:
    """Decode an encoded picture as servers do: upright, RGB (transparency on white) or grey.

    Raises:
        PictureError: not a picture, truncated or damaged, or grey whose white is not defined.
    """
    image = open_header(picture)
    try:
        image.load()
        return make_upright(image)
    except PictureError:
        raise
    except Exception as exc:  # Pillow's readers raise nearly every built-in error on damaged input
        raise damaged(picture_format(picture) or "picture", exc) from exc


def make_upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation and make the image RGB (transparency on white) or grey, 8 bits a channel.

    Raises:
        PictureError: grey of 32 bits or floating point, whose white is not defined.
    """
    is_grey = image.mode in ("1", "L") or image.mode.startswith("I;16")
    mode = "L" if is_grey and not image.has_transparency_data else "RGB"
    return turned(in_mode(image, mode), orientation_of(image))


def upright_size(picture: bytes) -> Size | None:
    """Width and height of what `open_upright` returns, mostly without decoding; None if the header is unreadable."""
    try:
        with open_header(picture) as image:
            if image.format == "TIFF":
                image.load()  # Pillow applies the orientation of a TIFF while loading
            return upright_size_of(image.size, orientation_of(image))
    except Exception:  # as in open_upright
        return None


def fit_body(
    picture: bytes, parameters: Mapping[str, object], limit_bytes: int, inputs: Mapping[str, object] = NO_INPUTS
) -> RequestBody:
    """Encode one request of at most `limit_bytes`: the bare picture, or v1 JSON if there are parameters or inputs.

    Bytes that are not a picture are sent unchanged if they are few enough: the server's error is the most precise.

    Raises:
        PictureError: too large, and cannot be read or made small enough.
    """
    picture, resized = shrink(picture, _picture_budget(parameters, limit_bytes, inputs))
    if parameters or inputs:
        data = encode_request([picture], parameters, [inputs])
        return RequestBody(data=data, content_type="application/json", resized=resized)
    name = picture_format(picture)
    return RequestBody(
        data=picture, content_type=f"image/{name.lower()}" if name else "application/x-picture", resized=resized
    )


def _picture_budget(parameters: Mapping[str, object], limit_bytes: int, inputs: Mapping[str, object]) -> int:
    """Number of bytes of `limit_bytes` that are left for the picture: base64 turns three bytes into four."""
    if not parameters and not inputs:
        return limit_bytes
    return max(0, (limit_bytes - len(encode_request([b""], parameters, [inputs]))) // 4 * 3)


def shrink(picture: bytes, limit_bytes: int) -> tuple[bytes, tuple[Shape, Shape] | None]:
    """Return the picture unchanged if it fits, else a smaller upright JPEG and the shapes before and after.

    A picture of more pixels than servers decode (shardline.wire.limits.PIXELS) does not fit, however few its bytes.

    Raises:
        PictureError: too large, and cannot be read or made small enough.
    """
    pixels = math.prod(_stored_size(picture) or (0,))
    if len(picture) <= limit_bytes and pixels <= PIXELS:
        return picture, None
    if pixels > _DECODED_PIXELS:
        raise PictureError(
            f"{pixels / 1e6:.0f} megapixels; allowed are {_DECODED_PIXELS / 1e6:.0f}: cut it into several pictures"
        )
    try:
        image = open_upright(picture)
    except PictureError as exc:
        over = f"{format_bytes(len(picture))} is over the limit of {format_bytes(limit_bytes)}"
        raise PictureError(f"{over} and cannot be made smaller: {exc}") from exc
    # at least a tenth smaller, so that a picture that is reported as resized has other sides
    scale = min(0.9, math.sqrt(PIXELS / (image.width * image.height)), _JPEG_SIDE_PX / max(image.size))
    while max(image.size) * scale >= _MIN_SIDE_PX:
        smaller, shape = _encode_scaled(image, scale)
        if len(smaller) <= limit_bytes:
            return smaller, (_shape(image), shape)
        scale *= min(0.9, 0.98 * math.sqrt(limit_bytes / len(smaller)))
    raise PictureError(f"cannot be made smaller than {format_bytes(limit_bytes)}: raise --limit-mib or crop it")


def encode_jpeg(image: Image.Image, **options: object) -> bytes:
    """Encode as JPEG with a quality that a network does not notice; `options` are Pillow's."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_JPEG_QUALITY, **options)
    return file.getvalue()


def _encode_scaled(image: Image.Image, scale: float) -> tuple[bytes, Shape]:
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    smaller = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    return encode_jpeg(smaller), _shape(smaller)


def _stored_size(picture: bytes) -> Size | None:
    """Width and height from the header, before the orientation is applied; None if the header is unreadable."""
    try:
        with open_header(picture) as image:
            return image.size
    except Exception:  # as in open_upright
        return None


def _shape(image: Image.Image) -> Shape:
    return image.height, image.width, len(image.getbands())
