"""HTTP requests with pictures to one server, their retries, and its replies.

A URL with a path is used as it is. A URL without one is first used as it is, too, since KServe's graph router answers
on any path; a model server answers 404 or 405, and then the path of its only model is looked up and remembered.
"""

import json
import textwrap
import threading
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import InvalidHeader, MaxRetryError, ProtocolError, ReadTimeoutError, ResponseError
from urllib3.util import Retry

from shardline.client.credentials import Credentials
from shardline.client.remedies import root_cause
from shardline.client.timed import REPLY_BYTES, TimedSession, TooLateError, TooLongError
from shardline.wire.errors import PredictorDownError, PredictorError, UsageError
from shardline.wire.limits import format_bytes

if TYPE_CHECKING:
    from shardline.client.pictures import RequestBody

DEFAULT_URL = "http://127.0.0.1:8080"

_BACKOFF_S = 0.5  # before the first retry without a Retry-After header, then doubled
_ERROR_CHARACTERS = 1000  # of a server's error: some repeat the whole body of the request
_CONNECT_S = 10.0
_REPLY_VALUES = 4_000_000  # of a reply: what JSON takes in memory is a multiple of its text


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Reply of a server about one picture.

    Attributes:
        predictions: the v1 reply's predictions as JSON values: one for the picture that was sent.
        timings: milliseconds by stage, if they were requested and the server reports them.
        random_weights: True if the reply's model card says that the model's weights are random.
        seconds: time from the first byte sent to the reply.
        requests: number of requests that the picture took; `timings` are their sums, `seconds` the time of them all.
    """

    predictions: tuple[Any, ...]
    timings: Mapping[str, object] | None
    seconds: float
    requests: int = 1
    random_weights: bool = False


def check_url(text: str) -> str:
    """Complete a URL as users type it: 'localhost:8080' gets http:// in front.

    Raises:
        UsageError: not a URL.
    """
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid or not url.isprintable() or " " in url:
        raise UsageError(f"{text!r} is not a URL; allowed is http://HOST:PORT or https://HOST/PATH")
    return url


class Target:
    """One server that pictures are sent to. Threads may share it."""

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 60.0,
        retries: int = 3,
        headers: Mapping[str, str] | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        self.url = check_url(url)
        self._server = "{0.scheme}://{0.netloc}".format(urlsplit(self.url))
        self._timeout_s = timeout_s
        self._retries = retries
        self._headers = dict(headers or {})
        self._credentials = credentials or Credentials()
        self._discovery = threading.Lock()
        self._discovered: str | None = None
        self._local = threading.local()
        self._sessions: weakref.WeakSet[TimedSession] = weakref.WeakSet()

    def ask(self, body: "RequestBody") -> Reply:
        """Send one request and read the v1 reply, in `timeout_s` with all its attempts.

        Raises:
            PredictorDownError: the server cannot be reached.
            PredictorError: any answer but a v1 reply, with the server's own status and text.
        """
        started = time.monotonic()
        url = self._discovered or self.url
        give_up_at = started + self._timeout_s
        response = self._send("POST", url, give_up_at, body)
        if response.status_code in (404, 405) and url == self.url and urlsplit(url).path in ("", "/"):
            response = self._send("POST", self._discover(response, give_up_at), give_up_at, body)
        return _read_reply(response, time.monotonic() - started)

    def exchange(self, body: "RequestBody") -> bytes:
        """Send one request and return the response's content unread: a stage's response is a frame for the next stage.

        Raises:
            PredictorDownError, PredictorError: as `ask`.
        """
        response = self._send("POST", self.url, time.monotonic() + self._timeout_s, body)
        if response.status_code != 200:
            raise _status_error(response)
        return response.content

    def close(self) -> None:
        """Close the idle connections of all threads."""
        for session in list(self._sessions):
            session.close()

    def _discover(self, refused: requests.Response, give_up_at: float) -> str:
        """Predict URL of the server's only model; `refused` is the response to the bare URL."""
        with self._discovery:
            if self._discovered is None:
                self._discovered = self._predict_url(quote(self._only_model(refused, give_up_at)))
            return self._discovered

    def _only_model(self, refused: requests.Response, give_up_at: float) -> str:
        listing = self._send("GET", f"{self._server}/v1/models", give_up_at)
        document = _json(listing)
        names = document.get("models") if isinstance(document, dict) else None
        if listing.status_code != 200 or not isinstance(names, list):
            raise _status_error(refused)
        if len(names) != 1 or not isinstance(names[0], str):
            found = ", ".join(map(str, names)) or "none"
            raise PredictorError(
                f"{self._server} has {len(names)} models ({found}): choose one by --url {self._predict_url('NAME')}",
                status=refused.status_code,
            )
        return names[0]

    def _predict_url(self, model: str) -> str:
        return f"{self._server}/v1/models/{model}:predict"

    def _send(self, method: str, url: str, give_up_at: float, body: "RequestBody | None" = None) -> requests.Response:
        """Send one request; it is not sent again after `give_up_at`, in seconds of time.monotonic."""
        headers = {**({"Content-Type": body.content_type} if body else {}), **self._headers}
        try:
            # a redirect would turn POST into GET and drop the picture
            return self._session(give_up_at).exchange(
                method,
                url,
                give_up_at,
                data=body.data if body else None,
                headers=headers,
                timeout=(min(_CONNECT_S, self._timeout_s), self._timeout_s),
                verify=self._credentials.verify,
            )
        except TooLongError as exc:
            limit = format_bytes(REPLY_BYTES)
            raise PredictorError(f"the reply is larger than {limit}, the most that is read: send less", 502) from exc
        except (requests.ReadTimeout, TooLateError) as exc:
            raise PredictorError(f"no reply within {self._timeout_s:g} s: raise --timeout", status=504) from exc
        except requests.exceptions.SSLError as exc:
            cause = str(root_cause(exc))
            is_plain = any(found in cause for found in ("WRONG_VERSION_NUMBER", "wrong version number", "HTTP_REQUEST"))
            remedy = "the server speaks http: write http:// in the URL" if is_plain else "check --ca-file"
            raise PredictorDownError(f"{self.url}: no TLS ({cause}): {remedy}") from exc
        except requests.ConnectionError as exc:
            wrapped = exc.args[0] if exc.args else None
            if isinstance(getattr(wrapped, "reason", wrapped), ProtocolError):
                raise PredictorError("the server closed the connection without a reply", status=502) from exc
            raise PredictorDownError(f"{self.url} does not answer ({root_cause(exc)}): is the server running?") from exc
        except requests.RequestException as exc:
            raise PredictorError(f"the server's response is not valid HTTP ({exc})", status=502) from exc

    def _session(self, give_up_at: float) -> TimedSession:
        """This thread's session, with the retries of one more request: requests does not promise thread safety."""
        session: TimedSession | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = TimedSession()
            self._sessions.add(session)
            self._credentials.prepare(session, self.url, self._headers)
            # a proxy to the outside does not lead back to this machine
            session.trust_env = urlsplit(self.url).hostname not in ("127.0.0.1", "localhost", "::1")
        for adapter in session.adapters.values():
            if isinstance(adapter, HTTPAdapter):
                adapter.max_retries = _DeadlineRetry(self._retries, give_up_at=give_up_at)
        return session


class _DeadlineRetry(Retry):
    """Send a request again while the server is away, closes the connection or answers 503, until a deadline.

    A request whose reply did not come in time is not sent again: the server is at work on it, and a second one would
    make that worse.
    """

    RETRY_AFTER_STATUS_CODES = frozenset({503})

    def __init__(self, total: int, *, give_up_at: float, **options: Any) -> None:
        options.setdefault("allowed_methods", None)  # all, POST included: a prediction changes nothing
        options.setdefault("status_forcelist", self.RETRY_AFTER_STATUS_CODES)
        options.setdefault("raise_on_status", False)
        super().__init__(total, **options)
        self._give_up_at = give_up_at

    def new(self, **options: Any) -> "_DeadlineRetry":
        return super().new(give_up_at=self._give_up_at, **options)

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: BaseHTTPResponse | None = None,
        error: Exception | None = None,
        _pool: Any = None,
        _stacktrace: Any = None,
    ) -> "_DeadlineRetry":
        if isinstance(error, ReadTimeoutError):
            raise error
        following = super().increment(method, url, response, error, _pool, _stacktrace)
        if time.monotonic() + following._wait_s(response) > self._give_up_at:
            raise MaxRetryError(_pool, url or "", error or ResponseError("no time left for a retry"))
        return following

    def sleep(self, response: BaseHTTPResponse | None = None) -> None:
        time.sleep(self._wait_s(response))

    def _wait_s(self, response: BaseHTTPResponse | None) -> float:
        """Seconds that the server's Retry-After says, else an exponential backoff."""
        try:
            retry_after_s = None if response is None else self.get_retry_after(response)
        except InvalidHeader:
            retry_after_s = None
        return _BACKOFF_S * 2 ** (len(self.history) - 1) if retry_after_s is None else retry_after_s


def _json(response: requests.Response) -> object:
    """The reply as a JSON value; None if it is none, or has more values than are read."""
    if sum(map(response.content.count, (b",", b"[", b"{"))) > _REPLY_VALUES:
        return None
    try:
        return json.loads(response.content)
    except (ValueError, RecursionError):
        return None


def _read_reply(response: requests.Response, seconds: float) -> Reply:
    if response.status_code != 200:
        raise _status_error(response)
    document = _json(response)
    predictions = document.get("predictions") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(predictions, list):
        raise PredictorError(f"200: not a v1 reply with predictions: {_start_of(response)}", status=502)
    timings = document.get("timings")
    return Reply(
        predictions=tuple(predictions),
        timings=timings if isinstance(timings, dict) else None,
        seconds=seconds,
        random_weights=_has_random_weights(document.get("model")),
    )


def _has_random_weights(card: object) -> bool:
    weights = card.get("weights") if isinstance(card, dict) else None
    return isinstance(weights, str) and weights.startswith("random")


def _status_error(response: requests.Response) -> PredictorError:
    return PredictorError(f"{response.status_code}: {_error_text(response)}", status=response.status_code)


def _error_text(response: requests.Response) -> str:
    """The error as one line: {"error", "cause"} of KServe, {"detail"} of FastAPI, or the start of the body."""
    if response.is_redirect:
        return f"moved: give --url {response.headers['Location']}"
    document = _json(response)
    if isinstance(document, dict):
        texts = [document[key] for key in ("error", "cause", "detail") if document.get(key)]
        if texts:
            line = ": ".join(text if isinstance(text, str) else json.dumps(text) for text in texts)
            return textwrap.shorten(line, _ERROR_CHARACTERS, placeholder=" …")
    return _start_of(response)


def _start_of(response: requests.Response) -> str:
    text = response.content[:1000].decode("utf-8", "replace")
    return " ".join(text.split())[:200] or response.reason or "an empty body"
