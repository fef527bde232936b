"""Time to decode and resize a photograph: `python -m benchmarks.decoding`.

What: each of scikit-image's photographs as a JPEG, decoded and resized for ResNet-50 by the transformer's code, and
decoded at full size by Pillow alone; in milliseconds, the median of many runs.

Why: with small models it is the largest part of a request's time.

Ceiling: `decode_ms`, unless a JPEG is so large that it is decoded at reduced scale.

The last line is one JSON object; `picture_ms` is the mean over the pictures.
"""

import io
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

from PIL import Image

from benchmarks.codec import interleaved_ms
from benchmarks.pictures import write_jpegs
from shardline.predictors.picture import to_pixels
from shardline.storage.bundle import PictureSpec
from shardline.wire.limits import Limits

SPEC = PictureSpec(height=224, width=224, resize=232)  # torchvision's for ResNet-50
TURNS = 15


def main() -> None:
    with TemporaryDirectory() as folder:
        pictures = {path.stem: path.read_bytes() for path in write_jpegs(Path(folder))}
    found = {}
    for name, jpeg in pictures.items():
        jobs: dict[str, Callable[[], object]] = {
            "picture_ms": partial(to_pixels, jpeg, SPEC, Limits()),
            "decode_ms": partial(decode, jpeg),
        }
        found[name] = {"bytes": len(jpeg), **interleaved_ms(jobs, TURNS)}
        print(f"{name}: {found[name]}")
    means = {name: round(fmean(times[name] for times in found.values()), 3) for name in ("picture_ms", "decode_ms")}
    print(json.dumps({"benchmark": "decoding", **means, "pictures": found}))


def decode(jpeg: bytes) -> None:
    with Image.open(io.BytesIO(jpeg)) as image:
        image.convert("RGB")


if __name__ == "__main__":
    main()
