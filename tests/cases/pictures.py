"""Odd pictures: empty, cut off, of another kind, huge by their header."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def good(size: tuple[int, int] = (40, 40), file_format: str = "PNG", seed: int = 0) -> bytes:
    """A picture of random pixels as a file's bytes."""
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    with io.BytesIO() as file:
        Image.fromarray(pixels).save(file, file_format)
        return file.getvalue()


def huge_png() -> bytes:
    """A header of 15,000 x 15,000 pixels with nearly nothing behind."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 15000, 15000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


def write_broken(folder: Path) -> list[str]:
    """Write files that are no pictures into a folder, beside hidden ones; return the names that a message must have."""
    broken = {
        "empty.jpg": b"",
        "cut_off.jpg": good((200, 200), "JPEG")[:2000],
        "page.png": b"<html><body>404</body></html>",
        "photo.jpg": b"\0\0\0\x18ftypheic" + bytes(100),
        "huge.png": huge_png(),
    }
    for name, data in broken.items():
        (folder / name).write_bytes(data)
    (folder / "._good.jpg").write_bytes(b"\0\5\x16\7")
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / ".ipynb_checkpoints" / "good.png").write_bytes(good())
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "good.png").write_bytes(b"")
    return list(broken)


def bitmap_with_alpha(alpha: int) -> bytes:
    """A bitmap of 32 bits a pixel, as Windows' captures are, with the same alpha everywhere."""
    pixels = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    rows = np.concatenate([pixels, np.full((24, 32, 1), alpha, np.uint8)], -1).tobytes()
    info = struct.pack("<IiiHHIIiiII", 124, 32, 24, 1, 32, 3, len(rows), 2835, 2835, 0, 0)
    info += struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs"
    info += bytes(124 - len(info))
    return b"BM" + struct.pack("<IHHI", 138 + len(rows), 0, 0, 138) + info + rows


def text_resolution_jpeg(size: tuple[int, int] = (64, 48)) -> bytes:
    """A JPEG that is turned by its EXIF, whose resolution is a text."""
    entries = [
        (274, 3, 1, struct.pack("<HH", 6, 0)),
        (282, 2, 4, b"72\0\0"),
        (283, 12, 1, struct.pack("<I", 8)),
    ]
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries))
    exif += b"".join(struct.pack("<HHI", tag, kind, count) + value for tag, kind, count, value in entries) + bytes(4)
    jpeg = good(size, "JPEG")
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


def stored(image: Image.Image, file_format: str, **options: object) -> bytes:
    """A picture as a file's bytes."""
    with io.BytesIO() as file:
        image.save(file, file_format, **options)
        return file.getvalue()


def odd_pictures() -> dict[str, bytes]:
    """Pictures that two decoders may read differently, and some that none may read."""
    ramp = np.linspace(0, 1, 40 * 40, dtype=np.float32).reshape(40, 40)
    grey16 = (ramp * 65535).astype(np.uint16)
    palette = Image.fromarray((ramp * 255).astype(np.uint8)).convert("P")
    translucent = Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 20, 4), dtype=np.uint8))
    return {
        "rgb.png": good(),
        "rgb.webp": good(file_format="WEBP"),
        "float.tif": stored(Image.fromarray(ramp), "TIFF"),
        "int32.tif": stored(Image.fromarray((ramp * 1000).astype(np.int32)), "TIFF"),
        "grey16.png": stored(Image.fromarray(grey16), "PNG"),
        "grey16.tif": stored(Image.fromarray(grey16), "TIFF"),
        "bit.png": stored(Image.fromarray(ramp > 0.5), "PNG"),
        "palette.gif": stored(palette, "GIF"),
        "palette.png": stored(palette, "PNG", transparency=7),
        "translucent.png": stored(translucent, "PNG"),
        "cmyk.jpg": stored(Image.fromarray((ramp * 255).astype(np.uint8)).convert("CMYK"), "JPEG"),
        "turned.jpg": text_resolution_jpeg(),
        "capture.bmp": bitmap_with_alpha(0),
        "alpha.bmp": bitmap_with_alpha(128),
        "profile.png": stored(Image.fromarray((ramp * 255).astype(np.uint8)), "PNG", icc_profile=bytes(3 << 20)),
        "empty.png": b"",
        "page.png": b"<html>",
        "cut_off.jpg": good((200, 200), "JPEG")[:2000],
    }
