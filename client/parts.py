"""A second look at an encoded picture: the parts that client/look.py names are cut out of it, encoded and asked about.

Whoever asks gets the picture and parts of it as files' bytes, so that a server may be behind it or a model in the same
process. To evaluate a model with it:

    find_plates_in(picture, size, lambda data, score: read_plates(predict(data, score)) or [], threshold=0.7)
"""

import io
from collections.abc import Callable, Sequence
from functools import cached_property

from PIL import Image

from shardline.client.look import DEFAULT_CROPS, DEFAULT_LOOK, INPUT_SIDE, Look, Part, find_plates
from shardline.client.plates import Plate, move
from shardline.client.together import in_order
from shardline.client.upright import Size, open_upright
from shardline.wire.view import View

AskPicture = Callable[[bytes, float], Sequence[Plate]]
"""An encoded picture, and the least score -> its plates, in its own pixels, upright."""

_MOST_SIDE = 2 * INPUT_SIDE  # of a part as it is asked about: a network would not see more of it
_QUALITY = 95


def find_plates_in(
    picture: bytes,
    size: Size,
    ask: AskPicture,
    *,
    look: Look = DEFAULT_LOOK,
    threshold: float,
    crops: int = DEFAULT_CROPS,
    jobs: int = 1,
    known: Sequence[Plate] | None = None,
) -> list[Plate]:
    """As `find_plates`, of an encoded picture; `ask` is called in `jobs` threads.

    With what is `known` of the picture (None: nothing yet), only a small copy of it is asked about as a whole again.

    Raises:
        PictureError: it cannot be decoded here.
        ShardlineError: what `ask` raises.
    """
    cutter = _Cutter(picture)

    def is_whole(part: Part) -> bool:
        return part.size == size and known is None

    def ask_parts(parts: Sequence[Part], score: float) -> list[Sequence[Plate]]:
        def ask_part(part: Part) -> Sequence[Plate]:
            if is_whole(part):
                return ask(picture, score)
            data, sent = cutter.cut(part)
            view = View(width=part.width, height=part.height, across=part.width / sent[0], down=part.height / sent[1])
            return [move(plate, view) for plate in ask(data, score)]

        if not all(map(is_whole, parts)):
            cutter.open()
        return list(in_order(ask_part, parts, jobs))

    return find_plates(size, ask_parts, look=look, threshold=threshold, crops=crops, known=known)


class _Cutter:
    """Decodes a picture when the first part of it is wanted, and only then."""

    def __init__(self, picture: bytes) -> None:
        self._picture = picture

    def open(self) -> None:
        """Before threads share it."""
        _ = self._pixels

    def cut(self, part: Part) -> tuple[bytes, Size]:
        """A file's bytes, and the size that the part has in it."""
        crop = self._pixels.crop(part.box)
        crop.thumbnail((_MOST_SIDE, _MOST_SIDE), Image.Resampling.LANCZOS)
        file = io.BytesIO()
        crop.save(file, "JPEG", quality=_QUALITY, subsampling=0)
        return file.getvalue(), crop.size

    @cached_property
    def _pixels(self) -> Image.Image:
        return open_upright(self._picture)
