"""Prediction of one picture: as many requests as its size and its task take, and a reply in its own pixels.

The task of a server is unknown before its first reply. So the first picture is sent as it is; if the reply is of plates
and the picture is large, a small copy and crops are sent as well (client/tiling.py). From then on every large picture
is sent in that way from the start. A reply of objects is followed by tiles only where the options ask for them.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from shardline.client.boxes import DetectedObject, read_boxes
from shardline.client.pictures import RequestBody, Shape, fit_body, upright_size
from shardline.client.plates import Plate, plates_in
from shardline.client.replies import OBJECTS, PLATES, ReplyKind, moved, read_prediction
from shardline.client.target import Reply, Target
from shardline.client.tiling import DEFAULT_CROPS, DEFAULT_TILING, Tiling, find_objects_in, find_plates_in, is_large
from shardline.wire.errors import PredictorError, ShardlineError
from shardline.wire.limits import PLATE_SCORE, REQUEST_BYTES
from shardline.wire.picture import Size
from shardline.wire.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOptions:
    """Options of all requests.

    Attributes:
        parameters: parameters of each request, e.g. `{"top": 3}` or `{"timings": True}`.
        threshold: lowest score of a plate or an object; None: the server's default. Only for tasks that know it.
        tiling: passes over a large picture: "once", "twice" (plates alone, and their default) or "tiles".
        crops: the most crops of a picture in the second pass.
        inputs: values of the model's inputs beside each picture, by name, as v1 JSON has them.
        limit_bytes: the largest request; a larger picture is sent as a smaller copy.
        jobs: requests in flight at the same time.
    """

    parameters: Mapping[str, object] = field(default_factory=dict)
    threshold: float | None = None
    tiling: Tiling | None = None
    crops: int = DEFAULT_CROPS
    inputs: Mapping[str, object] = field(default_factory=dict)
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
        # the kind of all replies, known from the first one; an option that only plates have gives it at once
        self._kind: ReplyKind | None = PLATES if options.tiling == "twice" else None

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
        first: Reply | None = None
        if size is None or self._kind is not PLATES:
            first = picture.send({} if options.threshold is None else {"threshold": options.threshold})
            self._kind = _kind_of(first) or self._kind
            _check_tiling(options.tiling, self._kind)
        search = _SEARCHES.get(self._kind.name if self._kind else "", {}).get(options.tiling)
        if size is None or search is None:
            assert first is not None
            return first
        found = search(picture, size, first)
        return replace(picture.replies[0], predictions=(found,))


def _kind_of(reply: Reply) -> ReplyKind | None:
    return read_prediction(reply.predictions[0]).kind if len(reply.predictions) == 1 else None


def _check_tiling(tiling: Tiling | None, kind: ReplyKind | None) -> None:
    """Refuse passes that this kind of reply does not have."""
    allowed = _SEARCHES.get(kind.name if kind else "", {})
    if tiling in (None, "once", *allowed):
        return
    name = kind.name if kind else "of several pictures"
    choices = " or ".join(f"--tiling {choice}" for choice in ("once", *allowed) if choice)
    raise PredictorError(f"--tiling {tiling} does not fit the reply ({name}): give {choices}", status=502)


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
        body = fit_body(crop or self.data, {**options.parameters, **parameters}, options.limit_bytes, options.inputs)
        if crop is None:
            self.resized = body.resized
        reply = self._predictor.send(body)
        self.replies.append(reply)
        if body.resized is None or len(reply.predictions) != 1:
            return reply
        return replace(reply, predictions=(moved(reply.predictions[0], _enlarged(*body.resized)),))

    def find_plates(self, data: bytes, score: float) -> list[Plate]:
        """Predict the picture or a crop, as `shardline.client.tiling.PredictPicture`.

        Raises:
            ShardlineError: the request failed, or the reply is another task's.
        """
        reply = self.send({"threshold": score}, None if data is self.data else data)
        plates = plates_in(reply.predictions)
        if plates is None:
            raise PredictorError("the reply is not of license plates: leave out --tiling", status=502)
        return plates

    def find_objects(self, data: bytes) -> tuple[DetectedObject, ...]:
        """Predict a tile, with the objects in its pixels.

        Raises:
            ShardlineError: the request failed, or the reply is another task's.
        """
        threshold = self._predictor.options.threshold
        reply = self.send({} if threshold is None else {"threshold": threshold}, data)
        found = read_boxes(reply.predictions[0]) if len(reply.predictions) == 1 else None
        if found is None:
            raise PredictorError("the reply about a tile is not of objects: leave out --tiling", status=502)
        return found

    def search_plates(self, size: Size, first: Reply | None) -> list[Mapping[str, Any]]:
        """Plates of both passes over the picture, as JSON; `first` is the reply about the whole, if it was sent."""
        options = self._predictor.options
        found = find_plates_in(
            self.data,
            size,
            self.find_plates,
            tiling=options.tiling or DEFAULT_TILING,
            threshold=PLATE_SCORE if options.threshold is None else options.threshold,
            crops=options.crops,
            jobs=options.jobs,
            known=plates_in(first.predictions) if first else None,
        )
        return [plate.reported for plate in found]

    def search_tiles(self, size: Size, first: Reply | None) -> dict[str, Any]:
        """Objects of the whole picture and of its tiles, as JSON; `first` is the reply about the whole."""
        whole = read_boxes(first.predictions[0]) if first else None
        jobs = self._predictor.options.jobs
        found = find_objects_in(self.data, size, self.find_objects, whole=whole or (), jobs=jobs)
        return {"boxes": [item.reported for item in found]}

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


_Search = Callable[[_PictureRequests, Size, Reply | None], Any]
# further passes over a large picture: kind of reply -> value of `tiling` -> search
_SEARCHES: Mapping[str, Mapping[Tiling | None, _Search]] = {
    PLATES.name: dict.fromkeys((None, "twice", "tiles"), _PictureRequests.search_plates),
    OBJECTS.name: {"tiles": _PictureRequests.search_tiles},
}
