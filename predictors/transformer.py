"""Serve the transformer: `python -m shardline.predictors.transformer --model_name NAME --predictor_host HOST …`.

A request has pictures in any form that v1 knows; the transformer turns them into a frame of uint8 pixels for stage 0.
As a component of stage 0's InferenceService it sends the frame to the predictor and returns its response unchanged; as
the graph's first step (`--step`) it answers the frame itself, and the router passes it on. This process loads no torch,
so that its image stays small.
"""

import asyncio
import json
import time
import uuid
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import aiohttp

from shardline.predictors.inputs import json_values, read_inputs
from shardline.predictors.model import FRAME_TYPE, JSON_TYPE, Answer, BytesModel
from shardline.predictors.picture import fit_pictures
from shardline.predictors.picture_cost import SMALL_BYTES, LargePicture
from shardline.predictors.server import arguments, run_main, serve
from shardline.predictors.worker import Worker, call_each, check_deadline, now_ms
from shardline.storage.bundle import CHANNELS, InputSpec, PictureSpec
from shardline.storage.inputs import parse_inputs
from shardline.wire.errors import DeadlineError, PredictorDownError, PredictorError, RequestError, ShardlineError
from shardline.wire.frame import Frame, encode_parts, is_frame
from shardline.wire.limits import PIXELS, REQUEST_BYTES, Limits
from shardline.wire.v1 import check_instances, parse_request

# Shorter than the 120 s that a stage keeps idle connections, so that none is used just as it closes.
_KEEP_ALIVE_SECONDS = 60
_DECODE_THREADS = 2
_HEADER_CHARACTERS = 256
_RETRY_S = 0.1  # before a request is sent again: a Service needs a moment to leave a pod out

Parts = tuple[bytes | memoryview, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerConfig:
    """Settings of the transformer, from the bundle and its manifest.

    `pixels_name` is stage 0's input of the first picture, `inputs` are the others.
    """

    bundle: str
    picture: PictureSpec
    limits: Limits
    max_instances: int
    request_timeout_ms: int
    max_queue: int
    pixels_name: str = "pixels"
    inputs: tuple[InputSpec, ...] = ()

    @property
    def most_values(self) -> int:
        """The most values in a request's JSON: those of the inputs, and a fixed number of others."""
        return json_values(self.inputs, self.max_instances)


class RetryBudget:
    """Number of requests that may be sent again: a tenth of all, and a few at the start.

    A predictor that is down is not sent twice as many requests as it had when it was up.
    """

    def __init__(self, share: float = 0.1, most: float = 10.0) -> None:
        self._share = share
        self._most = most
        self._left = most

    def add_request(self) -> None:
        """Count a request, which earns a share of a retry."""
        self._left = min(self._most, self._left + self._share)

    def take(self) -> bool:
        """Take one retry; False if none is left."""
        if self._left < 1:
            return False
        self._left -= 1
        return True


class ImageTransformer(BytesModel):
    """KServe model that turns pictures into a frame; without a predictor's URL the frame is the answer."""

    def __init__(self, name: str, predictor_url: str | None, config: TransformerConfig) -> None:
        super().__init__(name, label=f"transformer of {name}" if predictor_url else f"transformer {name}")
        self._url = f"{predictor_url}/v1/models/{name}:predict" if predictor_url else None
        self._config = config
        self._worker: Worker[Callable[[], Parts], Parts]
        self._worker = Worker(call_each, threads=_DECODE_THREADS, max_queue=config.max_queue)
        # large pictures have a queue and threads of their own, so that small ones do not wait behind them
        self._large: Worker[Callable[[], Parts], Parts]
        self._large = Worker(call_each, threads=_DECODE_THREADS, max_queue=config.max_queue)
        self._retries = RetryBudget()
        self._session: aiohttp.ClientSession | None = None

    async def answer(self, body: bytes | memoryview, headers: Mapping[str, str]) -> Answer:
        deadline_ms = now_ms() + self._config.request_timeout_ms
        request_id = _plain_header(headers, "x-request-id") or uuid.uuid4().hex
        traceparent = _plain_header(headers, "traceparent")

        def frame_of(most_bytes: int | None) -> Parts:
            return self._frame(bytes(body), request_id, traceparent, deadline_ms, most_bytes)

        try:
            [frame] = await self._worker.run(lambda: frame_of(SMALL_BYTES), deadline_ms=deadline_ms)
        except LargePicture:
            [frame] = await self._large.run(lambda: frame_of(None), deadline_ms=deadline_ms)
        if self._url is None:
            return Answer(frame, FRAME_TYPE)
        return await self._ask_predictor(self._url, b"".join(frame), deadline_ms)

    def _frame(self, body: bytes, request_id: str, traceparent: str, deadline_ms: int, most_bytes: int | None) -> Parts:
        start = time.perf_counter()
        if is_frame(body):
            raise RequestError("the transformer takes pictures or v1 JSON, not frames: send frames to a stage")
        config = self._config
        request = parse_request(body, [spec.name for spec in config.inputs], most_values=config.most_values)
        check_instances(len(request.pictures), config.max_instances)
        pixels, views = fit_pictures(request.pictures, config.picture, config.limits, most_bytes)
        further = read_inputs(request, config.inputs, config.picture, config.limits)
        taken_ms = (time.perf_counter() - start) * 1000
        frame = Frame(
            tensors={config.pixels_name: pixels, **further},
            bundle=config.bundle,
            stage=0,
            request_id=request_id,
            traceparent=traceparent,
            deadline_ms=deadline_ms,
            timings={"transformer": round(taken_ms, 3)},
            parameters=request.parameters,
            views=views,
        )
        return tuple(encode_parts(frame))

    async def _ask_predictor(self, url: str, frame: bytes, deadline_ms: int) -> Answer:
        self._retries.add_request()
        try:
            return await self._post(url, frame, deadline_ms)
        except PredictorDownError:
            if not self._retries.take():
                raise
        await asyncio.sleep(_RETRY_S)
        return await self._post(url, frame, deadline_ms)

    async def _post(self, url: str, frame: bytes, deadline_ms: int) -> Answer:
        """Send a frame once.

        Raises:
            PredictorDownError: no connection, or it was closed before anything came back: it may be sent again.
            DeadlineError, PredictorError: no reply in time, half a reply, or an error.
        """
        check_deadline(deadline_ms)
        timeout = aiohttp.ClientTimeout(total=(deadline_ms - now_ms()) / 1000)
        response = None
        try:
            async with self._client().post(url, data=frame, timeout=timeout) as response:
                body = await response.read()
        except TimeoutError as exc:
            raise DeadlineError(
                f"the predictor {url} did not answer within {self._config.request_timeout_ms} ms: try again later"
            ) from exc
        except (aiohttp.ClientError, OSError) as exc:
            reason = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
            text = f"the predictor {url} does not answer ({reason}): try again later"
            if response is not None:
                raise PredictorError(f"{self.label}: {text}", PredictorDownError.status, 1) from exc
            raise PredictorDownError(text) from exc
        if response.status >= 400:
            raise _predictor_error(response.status, response.headers.get("retry-after"), body)
        return Answer((body,), response.headers.get("content-type", JSON_TYPE))

    def _client(self) -> aiohttp.ClientSession:
        """HTTP session of all requests, created on the server's own event loop."""
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_SECONDS)
            self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def _plain_header(headers: Mapping[str, str], name: str) -> str:
    """Value of a header that a frame can carry; "" for one that is missing, long, or not of printable ASCII."""
    value = headers.get(name, "")
    return value if value.isascii() and value.isprintable() and len(value) <= _HEADER_CHARACTERS else ""


def _predictor_error(status: int, retry_after: str | None, body: bytes) -> ShardlineError:
    """Error of the predictor, with its own status and text."""
    try:
        text = str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        text = body[:200].decode(errors="replace") or "no text"
    return PredictorError(text, status, int(retry_after) if retry_after and retry_after.isdecimal() else None)


def parse() -> Namespace:
    parser = arguments("Serve the transformer that turns pictures into frames for stage 0.")
    add = parser.add_argument
    add("--input_size", required=True, help="input size of the model in pixels, HEIGHTxWIDTH, e.g. 224x224")
    fits, interpolations = ["crop", "stretch", "letterbox"], ["bilinear", "bicubic", "nearest"]
    add("--fit", choices=fits, default="crop", help="method to fit a picture to the input (default: %(default)s)")
    add(
        "--resize",
        type=int,
        help="shorter side in pixels before cropping (default: the longer input side)",
    )
    add("--interpolation", choices=interpolations, default="bilinear", help="resizing filter (default: %(default)s)")
    modes = "channels of the model's pictures: L is grey (default: %(default)s)"
    input_help = "input beside the picture, NAME=picture or NAME=DTYPE[SHAPE of one instance]; once for each"
    add("--input", action="append", default=[], help=input_help)
    add("--mode", choices=list(CHANNELS), default="RGB", help=modes)
    add(
        "--max_instances", type=int, default=1, help="most pictures in a request; more are a 413 (default: %(default)s)"
    )
    request_help = "largest request to a stage in bytes (default: %(default)s)"
    add("--max_request_bytes", type=int, default=REQUEST_BYTES, help=request_help)
    pixels_help = "largest picture in pixels; a larger one is refused before decoding (default: %(default)s)"
    add("--max_pixels", type=int, default=PIXELS, help=pixels_help)
    timeout_help = "deadline of each request in milliseconds (default: %(default)s)"
    add("--request_timeout_ms", type=int, default=60_000, help=timeout_help)
    step_help = "answer the frame itself, as the first step of a graph whose router passes it to stage 0"
    add("--step", action="store_true", help=step_help)
    parsed = parser.parse_args()
    if bool(parsed.predictor_host) == parsed.step:
        parser.error(
            "either --predictor_host, HOST:PORT of stage 0's predictor, which KServe's controller injects into a "
            "transformer component, or --step: one of them and not both"
        )
    if not parsed.bundle_digest:
        parser.error("--bundle_digest is missing: `shardline render` writes it")
    return parsed


def _picture(arguments: Namespace) -> PictureSpec:
    height, _, width = arguments.input_size.partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise RequestError(f"--input_size {arguments.input_size!r}: write HEIGHTxWIDTH, e.g. 224x224")
    return PictureSpec(
        height=int(height),
        width=int(width),
        fit=arguments.fit,
        resize=arguments.resize,
        interpolation=arguments.interpolation,
        mode=arguments.mode,
    )


def main() -> None:
    arguments = parse()
    scheme = "https" if arguments.predictor_use_ssl else "http"
    url = None if arguments.step else f"{scheme}://{arguments.predictor_host}"
    limits = Limits(
        request_bytes=arguments.max_request_bytes, body_bytes=arguments.max_body_bytes, pixels=arguments.max_pixels
    )
    config = TransformerConfig(
        bundle=arguments.bundle_digest,
        picture=_picture(arguments),
        limits=limits,
        max_instances=arguments.max_instances,
        request_timeout_ms=arguments.request_timeout_ms,
        max_queue=arguments.max_queue,
        inputs=parse_inputs(arguments.input),
    )
    model = ImageTransformer(arguments.model_name, url, config)
    model.load()
    serve(model, arguments)


if __name__ == "__main__":
    run_main(main)
