"""Prediction of one picture: as many requests as its size and its task take, and a reply in its own pixels.

The task of a server is unknown before its first reply. So the first picture is sent as it is; if the reply is of plates
and the picture is large, a small copy and crops are sent as well (client/tiling.py). From then on every large picture
is sent in that way from the start.
"""

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from shardline.client.pictures import RequestBody, Shape, Size, fit_body, upright_size
from shardline.client.plates import Plate, move, plates_in
from shardline.client.target import Reply, Target
from shardline.client.tiling import DEFAULT_CROPS, DEFAULT_TILING, Tiling, find_plates_in, is_large
from shardline.wire.errors import PredictorError, ShardlineError
from shardline.wire.limits import PLATE_SCORE, REQUEST_BYTES
from shardline.wire.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOptions:
    """Options of all requests.

    Attributes:
        parameters: parameters of each request, e.g. `{"top": 3}` or `{"timings": True}`.
        threshold: lowest score of a plate; None: the server's default. Only for tasks that know it.
        tiling: passes over a large picture with plates: "once", "twice" (the default for plates) or "tiles".
        crops: the most crops of a picture in the second pass.
        limit_bytes: the largest request; a larger picture is sent as a smaller copy.
        jobs: requests in flight at the same time.
    """

    parameters: Mapping[str, object] = field(default_factory=dict)
    threshold: float | None = None
    tiling: Tiling | None = None
    crops: int = DEFAULT_CROPS
    limit_bytes: int = REQUEST_BYTES
    jobs: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Result of one picture: a reply or an error, and the shapes before and after if it had to be made smaller."""

    reply: Reply | None = None
    error: ShardlineError | None = None
    resized: tuple[Shape, Shape] | None = None


class Predictor:
    """Predicts pictures with one server. Threads may share it: together they send `jobs` requests at a time."""

    def __init__(self, target: Target, options: RequestOptions) -> None:
        self.options = options
        self._target = target
        self._slots = threading.Semaphore(options.jobs)
        # an option that only plates know means that the replies are of plates
        self._plates = options.threshold is not None or options.tiling in ("twice", "tiles")

    def predict(self, data: bytes) -> Outcome:
        """Predict one encoded picture. An error of the picture or the server is part of the outcome."""
        picture = _PictureRequests(self, data)
        started = time.monotonic()
        try:
            reply = self._reply(picture)
        except ShardlineError as exc:
            return Outcome(error=exc, resized=picture.resized)
        reply = replace(
            reply, seconds=time.monotonic() - started, timings=picture.timings(), requests=len(picture.replies)
        )
        return Outcome(reply=reply, resized=picture.resized)

    def send(self, body: RequestBody) -> Reply:
        """Send one request when fewer than `jobs` are in flight.

        Raises:
            ShardlineError: as `Target.ask`.
        """
        with self._slots:
            return self._target.ask(body)

    def _reply(self, picture: "_PictureRequests") -> Reply:
        options = self.options
        size = picture.size_if_large() if options.tiling != "once" else None
        known = None
        if size is None or not self._plates:
            reply = picture.send({} if options.threshold is None else {"threshold": options.threshold})
            known = plates_in(reply.predictions)
            self._plates = self._plates or known is not None
            if size is None or known is None:
                return reply
        found = find_plates_in(
            picture.data,
            size,
            picture.find_plates,
            tiling=options.tiling or DEFAULT_TILING,
            threshold=PLATE_SCORE if options.threshold is None else options.threshold,
            crops=options.crops,
            jobs=options.jobs,
            known=known,
        )
        return replace(picture.replies[0], predictions=([plate.reported for plate in found],))


class _PictureRequests:
    """One picture, and the replies about it and its crops so far."""

    def __init__(self, predictor: Predictor, data: bytes) -> None:
        self._predictor = predictor
        self.data = data
        self.replies: list[Reply] = []
        self.resized: tuple[Shape, Shape] | None = None

    def size_if_large(self) -> Size | None:
        """Upright width and height; None if one pass shows all that there is, or the header cannot be read."""
        size = upright_size(self.data)
        return size if size and is_large(size) else None

    def send(self, parameters: Mapping[str, object], crop: bytes | None = None) -> Reply:
        """Send the picture or a crop; plates come back in its own pixels, even if it had to be made smaller."""
        options = self._predictor.options
        body = fit_body(crop or self.data, {**options.parameters, **parameters}, options.limit_bytes)
        if crop is None:
            self.resized = body.resized
        reply = self._predictor.send(body)
        self.replies.append(reply)
        plates = plates_in(reply.predictions)
        if plates is None or body.resized is None:
            return reply
        view = _enlarged(*body.resized)
        return replace(reply, predictions=([move(plate, view).reported for plate in plates],))

    def find_plates(self, data: bytes, score: float) -> list[Plate]:
        """Predict the picture or a crop, as `shardline.client.tiling.PredictPicture`.

        Raises:
            ShardlineError: the request failed, or the reply is another task's.
        """
        reply = self.send({"threshold": score}, None if data is self.data else data)
        plates = plates_in(reply.predictions)
        if plates is None:
            raise PredictorError("the reply is not of license plates: leave out --tiling and --threshold", status=502)
        return plates

    def timings(self) -> Mapping[str, object] | None:
        """Sums over all requests, in milliseconds; None if no reply has timings."""
        timings = [reply.timings for reply in self.replies if reply.timings is not None]
        if len(timings) < 2:
            return timings[0] if timings else None
        stages = dict.fromkeys(stage for reply in timings for stage in reply)
        return {stage: _total(reply.get(stage) for reply in timings) for stage in stages}


def _enlarged(before: Shape, after: Shape) -> View:
    """View from a picture that was made smaller to the original."""
    (height, width, _), (sent_height, sent_width, _) = before, after
    return View(width=width, height=height, across=width / sent_width, down=height / sent_height)


def _total(values: Iterable[object]) -> float:
    return round(sum(value for value in values if isinstance(value, int | float)), 3)
