"""A server of ours around a model that does nothing: it answers how long the body was, and the body's own bytes.

It starts in a second, for tests of what stands between the socket and a model. "wait" is not answered, and "left" with
the number of those whose clients went away.
"""

import asyncio
from collections.abc import Mapping

from shardline.predictors.model import Answer, BytesModel
from shardline.predictors.server import arguments, run_main, serve
from shardline.wire.errors import FrameError


class Echo(BytesModel):
    left = 0

    async def answer(self, body: bytes | memoryview, headers: Mapping[str, str]) -> Answer:  # noqa: ARG002
        if bytes(body[:4]) == b"fail":
            raise FrameError("asked to fail")
        if bytes(body[:4]) == b"trip":
            raise RuntimeError("not meant for the client")
        if bytes(body) == b"wait":
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.left += 1
                raise
        if bytes(body) == b"left":
            return Answer((str(self.left).encode(),))
        return Answer((f"{len(body)}:".encode(), body), "application/x-echo")


def main() -> None:
    given = arguments("Echo.").parse_args()
    model = Echo(given.model_name)
    model.load()
    serve(model, given)


if __name__ == "__main__":
    run_main(main)
