"""Pictures that claim little and cost much, and a command that fits one and prints the memory and time it took."""

import io
import json
import resource
import struct
import sys
import time
from collections.abc import Callable

from PIL import Image

from shardline.predictors.picture import fit_picture
from shardline.storage.bundle import PictureSpec
from shardline.wire.errors import PictureError
from shardline.wire.limits import MIB, Limits

Tag = tuple[int, int, int]  # number, type (3: 16 bits, 4: 32 bits), value


def tiff(tags: list[Tag], data: bytes) -> bytes:
    """A TIFF of one directory, with its only strip or tile behind it."""
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4) + data


def tile_bomb(side: int = 45_984) -> bytes:
    """63 KB: a picture of one pixel on one tile of side², in runs of zeros; decoding takes 2 GB."""
    left, blocks = side * side, []
    while left:
        count = min(left, 131_072)
        left -= count
        blocks.append((count << 3 | 2 | (not left)).to_bytes(3, "little") + b"\0")
    data = b"\x28\xb5\x2f\xfd\x00\x58" + b"".join(blocks)
    offset = 8 + 2 + 10 * 12 + 4
    tags = [(256, 4, 1), (257, 4, 1), (258, 3, 8), (259, 3, 50_000), (262, 3, 1), (277, 3, 1)]
    return tiff([*tags, (322, 4, side), (323, 4, side), (324, 4, offset), (325, 4, len(data))], data)


def thin(height: int = 49_999_999) -> bytes:
    """378 bytes: one pixel wide, within the limit of pixels; decoding takes 1 GB."""
    data, offset = bytes([0x55, 0xAA, 0x13, 0x37] * 64), 8 + 2 + 9 * 12 + 4
    tags = [(256, 4, 1), (257, 4, height), (258, 3, 1), (259, 3, 3), (262, 3, 0), (273, 4, offset), (277, 3, 1)]
    return tiff([*tags, (278, 4, 0xFFFFFFFF), (279, 4, len(data))], data)


def scans(count: int, side: int = 7000, hidden_by: bytes = b"") -> bytes:
    """A progressive JPEG with `count` more scans, behind bytes that are to hide them from a reader of markers."""
    with io.BytesIO() as file:
        Image.new("L", (side, side)).save(file, "JPEG", progressive=True, quality=50)
        jpeg = file.getvalue()
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x00\x00\x01\x00"
    return jpeg[: jpeg.rindex(b"\xff\xd9")] + hidden_by + scan * count + bytes(70_000) + b"\xff\xd9"


def webp(side: int = 7000) -> bytes:
    """A lossless WebP of one colour; decoding takes 18 bytes a pixel."""
    with io.BytesIO() as file:
        Image.new("RGBA", (side, side), (1, 2, 3, 4)).save(file, "WEBP", lossless=True, quality=0, method=0)
        return file.getvalue()


PICTURES: dict[str, Callable[[], bytes]] = {
    "tile bomb": tile_bomb,
    "a smaller tile bomb": lambda: tile_bomb(16_384),
    "thin": thin,
    "scans": lambda: scans(5000),
    "scans behind TEM": lambda: scans(5000, hidden_by=b"\xff\x01\xfe\xf0"),
    "few scans of many pixels": lambda: scans(40),
    "lossless WebP": webp,
}


def main(name: str) -> None:
    picture, spec = PICTURES[name](), PictureSpec(height=32, width=32, fit="stretch")
    before = _peak_bytes()
    start_s = time.process_time()
    try:
        fit_picture(picture, spec, Limits())
        error = None
    except PictureError as exc:
        error = str(exc)
    took_s = time.process_time() - start_s
    print(json.dumps({"error": error, "peak_mib": (_peak_bytes() - before) / MIB, "took_s": took_s}))


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main(sys.argv[1])
