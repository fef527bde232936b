"""One picture -> its reply, in the picture's own pixels, by as many requests as that takes.

Which task a server has is not known before it has replied. So the first picture is sent as it is; if the reply is of
plates and the picture is large, a small copy of it is sent again and looked at as client/look.py says. All pictures
after that are looked at in that way at once.
"""

import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from shardline.client.fit import Body, Shape, fit_body
from shardline.client.look import DEFAULT_CROPS, DEFAULT_LOOK, Look, is_large
from shardline.client.parts import find_plates_in
from shardline.client.pictures import STDIN
from shardline.client.plates import DEFAULT_THRESHOLD, Plate, move, plates_in
from shardline.client.target import Reply, Target
from shardline.client.upright import Size, upright_size
from shardline.wire.errors import PredictorError, RequestError, ShardlineError
from shardline.wire.limits import REQUEST_BYTES
from shardline.wire.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """What is asked, and how.

    Attributes:
        parameters: of each request.
        threshold: the least score of a plate; None is the server's own. Only tasks that know it take it.
        look: None is "twice" where the replies are of plates.
        crops: the most parts of one picture that a second look takes.
        jobs: requests at once.
    """

    parameters: Mapping[str, object] = field(default_factory=dict)
    threshold: float | None = None
    look: Look | None = None
    crops: int = DEFAULT_CROPS
    limit_bytes: int = REQUEST_BYTES
    jobs: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one picture: a reply or an error, and the shapes if it had to be made smaller.

    `picture` is its bytes, where they could be read.
    """

    path: Path
    reply: Reply | None = None
    error: ShardlineError | None = None
    resized: tuple[Shape, Shape] | None = None
    picture: bytes = b""


class Asker:
    """Asks one server about pictures. Threads may share it: all of them together send `jobs` requests at once."""

    def __init__(self, target: Target, asking: Asking) -> None:
        self.asking = asking
        self._target = target
        self._turns = threading.Semaphore(asking.jobs)
        # who says how to look or from which score on asks for plates
        self._plates = asking.threshold is not None or asking.look in ("twice", "tiles")

    def ask(self, path: Path) -> Outcome:
        """About the picture in a file, or on stdin."""
        try:
            data = sys.stdin.buffer.read() if path == STDIN else path.read_bytes()
        except OSError as exc:
            return Outcome(path=path, error=RequestError(f"cannot be read ({exc.strerror})"))
        picture = _Picture(self, data)
        started = time.monotonic()
        try:
            reply = self._reply(picture)
        except ShardlineError as exc:
            return Outcome(path=path, error=exc, resized=picture.resized, picture=data)
        took = replace(
            reply, seconds=time.monotonic() - started, timings=picture.timings(), requests=len(picture.replies)
        )
        return Outcome(path=path, reply=took, resized=picture.resized, picture=data)

    def send(self, body: Body) -> Reply:
        """Raises ShardlineError as `Target.ask`."""
        with self._turns:
            return self._target.ask(body)

    def _reply(self, picture: "_Picture") -> Reply:
        asking = self.asking
        size = picture.size_if_large() if asking.look != "once" else None
        known = None
        if size is None or not self._plates:
            reply = picture.ask({} if asking.threshold is None else {"threshold": asking.threshold})
            known = plates_in(reply.predictions)
            self._plates = self._plates or known is not None
            if size is None or known is None:
                return reply
        found = find_plates_in(
            picture.data,
            size,
            picture.find,
            look=asking.look or DEFAULT_LOOK,
            threshold=DEFAULT_THRESHOLD if asking.threshold is None else asking.threshold,
            crops=asking.crops,
            jobs=asking.jobs,
            known=known,
        )
        return replace(picture.replies[0], predictions=([plate.said for plate in found],))


class _Picture:
    """One picture, and all the replies about it and its parts so far."""

    def __init__(self, asker: Asker, data: bytes) -> None:
        self._asker = asker
        self.data = data
        self.replies: list[Reply] = []
        self.resized: tuple[Shape, Shape] | None = None

    def size_if_large(self) -> Size | None:
        """Upright; None if one look shows all that there is, or the header cannot be read."""
        size = upright_size(self.data)
        return size if size and is_large(size) else None

    def ask(self, parameters: Mapping[str, object], part: bytes | None = None) -> Reply:
        """About the picture, or about a part of it; plates are in its own pixels, even if it had to be made smaller."""
        asking = self._asker.asking
        body = fit_body(part or self.data, {**asking.parameters, **parameters}, asking.limit_bytes)
        if part is None:
            self.resized = body.resized
        reply = self._asker.send(body)
        self.replies.append(reply)
        plates = plates_in(reply.predictions)
        if plates is None or body.resized is None:
            return reply
        view = _enlarged(*body.resized)
        return replace(reply, predictions=([move(plate, view).said for plate in plates],))

    def find(self, data: bytes, score: float) -> list[Plate]:
        """As shardline.client.parts.AskPicture.

        Raises:
            ShardlineError: the request failed, or the reply is of another task.
        """
        reply = self.ask({"threshold": score}, None if data is self.data else data)
        plates = plates_in(reply.predictions)
        if plates is None:
            raise PredictorError("the reply is not of license plates: leave out --look and --threshold", status=502)
        return plates

    def timings(self) -> Mapping[str, object] | None:
        """The sums of all requests, in milliseconds; None where none was told."""
        told = [reply.timings for reply in self.replies if reply.timings is not None]
        if len(told) < 2:
            return told[0] if told else None
        names = dict.fromkeys(name for timings in told for name in timings)
        return {name: _total(timings.get(name) for timings in told) for name in names}


def _enlarged(before: Shape, after: Shape) -> View:
    """From a picture that was made smaller to what it was."""
    (height, width, _), (sent_height, sent_width, _) = before, after
    return View(width=width, height=height, across=width / sent_width, down=height / sent_height)


def _total(values: Iterable[object]) -> float:
    return round(sum(value for value in values if isinstance(value, int | float)), 3)
