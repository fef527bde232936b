"""Videos drawn for tests."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
from PIL import Image


def draw_video(path: Path, frames: Iterable[Image.Image], size: tuple[int, int], rate: Fraction = Fraction(25)) -> Path:
    """Encode RGB pictures of one size (width, height) as an MPEG-4 video."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.pix_fmt, stream.bit_rate = "yuv420p", 4_000_000
        stream.width, stream.height = size
        for image in frames:
            frame = av.VideoFrame.from_image(image)  # type: ignore[no-untyped-call]
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
