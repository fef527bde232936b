"""Going without a client noticing: after SIGTERM every answer says `Connection: close`, and only then the server ends.

A server that closes an idle connection races with the client that has just sent a request on it: KServe's router then
answers 500, since Go sends no POST twice. A client that is told to close opens its next connection itself, and by then
the Service no longer knows this pod. So for some seconds the server answers as before but ends every connection with
its answer; what is still idle after that has not been used for as long.
"""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from starlette.types import ASGIApp, Message, Receive, Scope, Send

CLOSE = (b"connection", b"close")


class Drain:
    """Whether this server is about to go. `seconds` is how long it keeps answering after SIGTERM."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.begun = False

    @contextmanager
    def on_sigterm(self) -> Iterator[None]:
        """While the block runs, SIGTERM begins to drain, and reaches the server's own handler when that is done.

        To be entered in the main thread, with an event loop running and the server's handler in place. A second SIGTERM
        hurries.
        """
        loop = asyncio.get_running_loop()
        stop = signal.getsignal(signal.SIGTERM)
        assert callable(stop)

        def begin(number: int, frame: FrameType | None) -> None:
            if self.begun or self._seconds <= 0:
                stop(number, frame)
                return
            self.begun = True
            loop.call_soon_threadsafe(loop.call_later, self._seconds, stop, number, None)

        signal.signal(signal.SIGTERM, begin)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, stop)


class CloseConnections:
    """ASGI middleware: while the server drains, each answer ends its connection."""

    def __init__(self, app: ASGIApp, drain: Drain) -> None:
        self._app = app
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_and_close(message: Message) -> None:
            if message["type"] == "http.response.start" and self._drain.begun:
                message = {**message, "headers": [*message.get("headers", []), CLOSE]}
            await send(message)

        await self._app(scope, receive, send_and_close if scope["type"] == "http" else send)
