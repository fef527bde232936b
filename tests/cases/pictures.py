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
