"""Pictures in a terminal: in full by the protocols of kitty and iTerm2, elsewhere as coloured half blocks."""

import base64
import io
import os
import shutil
from collections.abc import Mapping
from typing import Literal

import numpy as np
from PIL import Image

from shardline.client.canvas import Canvas
from shardline.client.pictures import open_upright
from shardline.client.replies import read_prediction
from shardline.client.target import Reply

Protocol = Literal["kitty", "iterm"]

_PREVIEW_COLUMNS, _PREVIEW_ROWS = 64, 24
_CHUNK = 4096  # bytes of base64 in one of kitty's escape sequences


def preview_lines(picture: bytes, reply: Reply) -> list[str]:
    """A small copy of the picture with boxes and masks, in 24-bit colours, two pixels in each character.

    Raises:
        PictureError: the picture cannot be decoded here.
        ShardlineError: the reply cannot be drawn.
    """
    image = open_upright(picture).convert("RGB")
    before = image.size
    columns = min(_PREVIEW_COLUMNS, shutil.get_terminal_size().columns - 4)
    image.thumbnail((max(8, columns), 2 * _PREVIEW_ROWS), Image.Resampling.BOX)
    canvas = Canvas(image, bare=True, scale=(image.width / before[0], image.height / before[1]))
    for prediction in reply.predictions:
        read_prediction(prediction).mark(canvas)
    return half_blocks(canvas.image)


def half_blocks(image: Image.Image) -> list[str]:
    """An RGB picture as lines of half blocks; the upper pixel is the character's colour, the lower its ground."""
    pixels = np.asarray(image.convert("RGB"))
    if len(pixels) % 2:
        pixels = np.concatenate([pixels, np.zeros_like(pixels[:1])])
    return [
        "  " + "".join(map(_half_block, upper.tolist(), lower.tolist())) + "\x1b[0m"
        for upper, lower in zip(pixels[::2], pixels[1::2], strict=True)
    ]


def terminal_protocol(environment: Mapping[str, str] = os.environ) -> Protocol | None:
    """The protocol by which this terminal shows pictures, by what it says of itself; None: none is known.

    Inside tmux and screen the sequences would not arrive.
    """
    if environment.get("TMUX") or environment.get("STY"):
        return None
    program, terminal = environment.get("TERM_PROGRAM", ""), environment.get("TERM", "")
    if environment.get("KITTY_WINDOW_ID") or "kitty" in terminal or "ghostty" in terminal:
        return "kitty"
    return "iterm" if program in ("iTerm.app", "WezTerm") else None


def inline(image: Image.Image, protocol: Protocol) -> str:
    """An escape sequence that shows a picture in the terminal."""
    file = io.BytesIO()
    image.save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode()
    if protocol == "iterm":
        return f"\x1b]1337;File=inline=1;size={len(file.getvalue())};preserveAspectRatio=1:{data}\x07"
    chunks = [data[start : start + _CHUNK] for start in range(0, len(data), _CHUNK)]
    return "".join(
        f"\x1b_G{'a=T,f=100,' if number == 1 else ''}m={int(number < len(chunks))};{chunk}\x1b\\"
        for number, chunk in enumerate(chunks, 1)
    )


def _half_block(upper: list[int], lower: list[int]) -> str:
    colours = ";".join(map(str, upper)), ";".join(map(str, lower))
    return f"\x1b[38;2;{colours[0]};48;2;{colours[1]}m▀"
