"""A server of ours around a model that does nothing: it answers how long the body was, and the body's own bytes.

It starts in a second, for tests of what stands between the socket and a model.
"""

from collections.abc import Mapping

from shardline.predictors.model import Answer, BytesModel
from shardline.predictors.server import arguments, run_main, serve
from shardline.wire.errors import FrameError


class Echo(BytesModel):
    async def answer(self, body: bytes | memoryview, headers: Mapping[str, str]) -> Answer:  # noqa: ARG002
        if bytes(body[:4]) == b"fail":
            raise FrameError("asked to fail")
        if bytes(body[:4]) == b"trip":
            raise RuntimeError("not meant for the client")
        return Answer((f"{len(body)}:".encode(), body), "application/x-echo")


def main() -> None:
    given = arguments("Echo.").parse_args()
    model = Echo(given.model_name)
    model.load()
    serve(model, given)


if __name__ == "__main__":
    run_main(main)
