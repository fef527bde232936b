"""Where pictures are sent, and how a reply is read.

A URL with a path is used as it is. A URL without one is tried as it is too, since KServe's graph router answers on any
path; a model server says 404 or 405 to that, and then its one model is asked for and remembered.
"""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import quote, urlsplit

import requests
from urllib3.exceptions import ProtocolError

from shardline.client.access import Access
from shardline.client.fit import Body
from shardline.client.refusals import root_cause
from shardline.wire.errors import PredictorDownError, PredictorError, RequestError

_BACKOFF_S = 0.5  # before the first retry without a Retry-After, then doubled
_CONNECT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A v1 reply. `timings` has milliseconds by stage, where asked for; `seconds` is the whole request's time.

    Where one picture took several `requests`, `timings` are their sums and `seconds` the time of them all.
    """

    predictions: tuple[object, ...]
    timings: Mapping[str, object] | None
    seconds: float
    requests: int = 1


def check_url(text: str) -> str:
    """A URL as typed -> one that can be asked; 'localhost:8080' is taken for http.

    Raises:
        RequestError: no URL.
    """
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid or not url.isprintable() or " " in url:
        raise RequestError(f"{text!r} is not a URL; allowed is http://HOST:PORT or https://HOST/PATH")
    return url


class Target:
    """One server. Threads may share it."""

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 60.0,
        retries: int = 3,
        headers: Mapping[str, str] | None = None,
        access: Access | None = None,
    ):
        self.url = check_url(url)
        self._server = "{0.scheme}://{0.netloc}".format(urlsplit(self.url))
        self._timeout_s = timeout_s
        self._retries = retries
        self._headers = dict(headers or {})
        self._access = access or Access()
        self._discovering = threading.Lock()
        self._discovered: str | None = None
        self._local = threading.local()

    def ask(self, body: Body) -> Reply:
        """Send one body and read the reply, in at most some `timeout_s` per try.

        Raises:
            PredictorDownError: the server cannot be reached.
            PredictorError: any answer but a v1 reply, with the server's own status and text.
        """
        started = time.monotonic()
        url = self._discovered or self.url
        response = self._post(url, body)
        if response.status_code in (404, 405) and url == self.url and urlsplit(url).path in ("", "/"):
            response = self._post(self._discover(response), body)
        return _read_reply(response, time.monotonic() - started)

    def pass_on(self, body: Body) -> bytes:
        """Send one body and give back what is answered, whatever it is: a stage's answer is for the next stage.

        Raises:
            PredictorDownError, PredictorError: as `ask`.
        """
        response = self._post(self.url, body)
        if response.status_code != 200:
            raise _refusal(response)
        return response.content

    def _discover(self, refused: requests.Response) -> str:
        """The predict URL of the server's only model; `refused` is what it said to the bare URL."""
        with self._discovering:
            if self._discovered is None:
                self._discovered = self._predict_url(quote(self._only_model(refused)))
            return self._discovered

    def _only_model(self, refused: requests.Response) -> str:
        listing = self._send("GET", f"{self._server}/v1/models")
        document = _json(listing)
        names = document.get("models") if isinstance(document, dict) else None
        if listing.status_code != 200 or not isinstance(names, list):
            raise _refusal(refused)
        if len(names) != 1 or not isinstance(names[0], str):
            found = ", ".join(map(str, names)) or "none"
            raise PredictorError(
                f"{self._server} has {len(names)} models ({found}): choose one by --url {self._predict_url('NAME')}",
                status=refused.status_code,
            )
        return names[0]

    def _predict_url(self, model: str) -> str:
        return f"{self._server}/v1/models/{model}:predict"

    def _post(self, url: str, body: Body) -> requests.Response:
        """POST, and again while the server is away, breaks off or says 503, as long as tries and time last."""
        give_up_at = time.monotonic() + self._timeout_s
        for backoff_s in self._backoffs():
            try:
                response = self._send("POST", url, body)
            except (PredictorDownError, PredictorError) as exc:
                wait_s = backoff_s
                # no reply in time means that the server is at work on it: a second request would make that worse
                if exc.status == 504 or time.monotonic() + wait_s > give_up_at:
                    raise
            else:
                wait_s = _retry_after_s(response, backoff_s)
                if response.status_code != 503 or time.monotonic() + wait_s > give_up_at:
                    return response
            time.sleep(wait_s)
        return self._send("POST", url, body)

    def _backoffs(self) -> Iterator[float]:
        return (_BACKOFF_S * 2**attempt for attempt in range(self._retries))

    def _send(self, method: str, url: str, body: Body | None = None) -> requests.Response:
        headers = {**({"Content-Type": body.content_type} if body else {}), **self._headers}
        try:
            # a redirect would turn POST into GET and drop the picture
            return self._session().request(
                method,
                url,
                data=body.data if body else None,
                headers=headers,
                timeout=(min(_CONNECT_S, self._timeout_s), self._timeout_s),
                allow_redirects=False,
                verify=self._access.verify,
            )
        except requests.ReadTimeout as exc:
            raise PredictorError(f"no reply within {self._timeout_s:g} s: raise --timeout", status=504) from exc
        except requests.exceptions.SSLError as exc:
            raise PredictorDownError(f"{self.url}: no TLS ({root_cause(exc)}): check --ca-file") from exc
        except requests.ConnectionError as exc:
            if exc.args and isinstance(exc.args[0], ProtocolError):
                raise PredictorError("the server closed the connection without a reply", status=502) from exc
            raise PredictorDownError(f"{self.url} does not answer ({root_cause(exc)}): is the server running?") from exc
        except requests.RequestException as exc:
            raise PredictorError(f"the server gave no valid HTTP ({exc})", status=502) from exc

    def _session(self) -> requests.Session:
        """Each thread has its own: requests does not promise that a session can be shared."""
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            self._access.prepare(session, self.url, self._headers)
            # a proxy to the world outside does not lead back to this machine
            session.trust_env = urlsplit(self.url).hostname not in ("127.0.0.1", "localhost", "::1")
        return session


def _retry_after_s(response: requests.Response, otherwise_s: float) -> float:
    """Retry-After in seconds; HTTP allows a number or a date."""
    value = response.headers.get("Retry-After", "")
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return otherwise_s


def _json(response: requests.Response) -> object:
    try:
        return json.loads(response.content)
    except (ValueError, RecursionError):
        return None


def _read_reply(response: requests.Response, seconds: float) -> Reply:
    if response.status_code != 200:
        raise _refusal(response)
    document = _json(response)
    predictions = document.get("predictions") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(predictions, list):
        raise PredictorError(f"200: no v1 reply with predictions: {_start_of(response)}", status=502)
    timings = document.get("timings")
    return Reply(
        predictions=tuple(predictions), timings=timings if isinstance(timings, dict) else None, seconds=seconds
    )


def _refusal(response: requests.Response) -> PredictorError:
    return PredictorError(f"{response.status_code}: {_error_text(response)}", status=response.status_code)


def _error_text(response: requests.Response) -> str:
    """What went wrong, in one line: {"error", "cause"} as KServe says it, {"detail"} as FastAPI, or the start."""
    if response.is_redirect:
        return f"moved: give --url {response.headers['Location']}"
    document = _json(response)
    if isinstance(document, dict):
        said = [document[key] for key in ("error", "cause", "detail") if document.get(key)]
        if said:
            return " ".join(": ".join(one if isinstance(one, str) else json.dumps(one) for one in said).split())
    return _start_of(response)


def _start_of(response: requests.Response) -> str:
    text = response.content[:1000].decode("utf-8", "replace")
    return " ".join(text.split())[:200] or response.reason or "an empty body"
