"""Python client: ask a served model about paths, bytes, Pillow pictures and numpy arrays.

    from shardline import Client

    with Client("http://127.0.0.1:8080") as client:
        reply = client.ask("photo.jpg")
        print(reply.predictions[0])

Pictures are sent as the command `shardline request` sends them: what is over the limit of one request goes as a smaller
copy, and large pictures with license plates take a second pass over crops. Only requests, numpy and Pillow are needed.
"""

import asyncio
import io
import os
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shardline.client.credentials import Credentials
from shardline.client.pictures import make_upright
from shardline.client.predictor import Predictor, RequestOptions
from shardline.client.target import DEFAULT_URL, Reply, Target
from shardline.client.waiting import in_order
from shardline.wire.errors import FileError, PictureError
from shardline.wire.files import PICTURE_BYTES, read_bounded

Picture = str | os.PathLike[str] | bytes | Image.Image | NDArray[np.uint8]
"""A path, an encoded picture, a Pillow picture, or pixels: uint8 [height, width, 3] (RGB) or [height, width] (grey)."""


class Client(AbstractContextManager["Client"], AbstractAsyncContextManager["Client"]):
    """A client of one server. Threads and event loops may share it; connections are kept open until `close`.

    The server is a model server, a graph's router or an ingress; no cluster is looked up.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        token: str | None = None,
        verify: bool | str | Path = True,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
        retries: int = 3,
        options: RequestOptions | None = None,
    ) -> None:
        """
        Args:
            url: the server, or one model's predict URL; 'localhost:8080' gets http:// in front.
            token: sent as `Authorization: Bearer …`.
            verify: True: trust the system's certificate authorities; False: trust any certificate; a path: trust the
                authorities in that PEM file.
            headers: sent with each request, e.g. `{"Host": "resnet50.example.com"}`.
            timeout_s: seconds to a reply.
            retries: further attempts while the server is busy or away, within `timeout_s`.
            options: parameters of each request, the passes over large pictures, and the number of jobs.

        Raises:
            UsageError: `url` is not a URL.
        """
        ca_file = None if isinstance(verify, bool) else Path(verify)
        self._target = Target(
            url,
            timeout_s=timeout_s,
            retries=retries,
            headers=headers,
            credentials=Credentials(token=token, ca_file=ca_file, insecure=verify is False),
        )
        self._predictor = Predictor(self._target, options or RequestOptions())

    def ask(self, picture: Picture) -> Reply:
        """Predict one picture: a path, bytes, a Pillow picture, or uint8 [height, width, 3] or [height, width].

        Raises:
            FileError: the file cannot be read.
            PictureError: no array of that kind, or a picture that cannot be made small enough.
            PredictorDownError: the server cannot be reached.
            PredictorError: the server answers with an error; its `status` is the server's.
        """
        outcome = self._predictor.predict(encode_picture(picture))
        if outcome.error:
            raise outcome.error
        assert outcome.reply is not None
        return outcome.reply

    def ask_many(self, pictures: Iterable[Picture]) -> list[Reply]:
        """Predict several pictures, `options.jobs` at a time; the replies are in the order of the pictures.

        Raises:
            ShardlineError: as `ask`, for the first picture that failed.
        """
        return list(in_order(self.ask, list(pictures), self._predictor.options.jobs))

    async def ask_async(self, picture: Picture) -> Reply:
        """Predict one picture as `ask` does, in a worker thread of the event loop (`asyncio.to_thread`).

        Cancelling the task does not end a request that has been sent.
        """
        return await asyncio.to_thread(self.ask, picture)

    async def ask_many_async(self, pictures: Iterable[Picture]) -> list[Reply]:
        """Predict several pictures as `ask_many` does, in worker threads."""
        return await asyncio.to_thread(self.ask_many, pictures)

    def close(self) -> None:
        """Close the connections. A client that is used again opens new ones."""
        self._target.close()

    def __exit__(self, *error: object) -> None:
        self.close()

    async def __aexit__(self, *error: object) -> None:
        self.close()


def encode_picture(picture: Picture) -> bytes:
    """Encode a picture as a file's bytes. Pixels (uint8 [height, width, 3] or [height, width]) become a PNG.

    A Pillow picture is turned as its EXIF data says, and transparency becomes white, as servers do with files.

    Raises:
        FileError: the file cannot be read.
        PictureError: an array of another dtype or shape, or a Pillow picture of 32-bit or floating-point grey.
    """
    if isinstance(picture, bytes):
        return picture
    if isinstance(picture, Image.Image):
        return _encode_image(picture)
    if isinstance(picture, np.ndarray):
        return _encode_image(Image.fromarray(_checked_pixels(picture)))
    try:
        return read_bounded(Path(picture), PICTURE_BYTES)
    except OSError as exc:
        raise FileError(f"{os.fspath(picture)}: cannot be read ({exc.strerror})") from exc


def _checked_pixels(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    is_picture = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)
    if pixels.dtype != np.uint8 or not is_picture or pixels.size == 0:
        raise PictureError(
            f"an array of {pixels.dtype} {list(pixels.shape)} is not a picture; allowed are uint8 [height, width, 3] "
            "(RGB) and [height, width] (grey): convert it first"
        )
    return np.ascontiguousarray(pixels)


def _encode_image(image: Image.Image) -> bytes:
    if image.mode in ("I", "F"):
        raise PictureError(f"a Pillow picture of mode {image.mode!r} has no defined white: convert it to 'L' or 'RGB'")
    file = io.BytesIO()
    make_upright(image).save(file, "PNG", compress_level=1)
    return file.getvalue()
