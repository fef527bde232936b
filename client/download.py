"""Pictures at a URL: download over http or https, with limits on size and time, without any credentials of the user."""

import time
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urljoin, urlsplit

import requests

from shardline.client.remedies import root_cause
from shardline.client.timed import TimedSession, TooLateError, TooLongError
from shardline.wire.errors import FileError
from shardline.wire.limits import MIB, format_bytes

DOWNLOAD_BYTES = 64 * MIB

_CONNECT_S = 10.0
_MOST_REDIRECTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureURL:
    """A picture that is downloaded when it is needed."""

    url: str

    @property
    def stem(self) -> str:
        """Name of the file without its suffix, as far as the URL has one."""
        return PurePosixPath(unquote(urlsplit(self.url).path)).stem

    def __str__(self) -> str:
        return self.url

    def download(self, timeout_s: float, limit_bytes: int = DOWNLOAD_BYTES) -> bytes:
        """Download the picture, following redirects to http and https, within `timeout_s`.

        No token, cookie or .netrc password is sent.

        Raises:
            FileError: the server cannot be reached, answers with an error or too slowly, or the file is too large.
        """
        give_up_at = time.monotonic() + timeout_s
        with _PlainSession() as session:
            # a proxy to the outside does not lead back to this machine
            session.trust_env = urlsplit(self.url).hostname not in ("127.0.0.1", "localhost", "::1")
            url = self.url
            for _ in range(_MOST_REDIRECTS + 1):
                response = _get(session, url, timeout_s, give_up_at, limit_bytes)
                if not response.is_redirect:
                    break
                url = urljoin(url, response.headers["Location"])
                if not is_url(url):
                    raise FileError("redirected to a URL that is not http or https: download it yourself")
            else:
                raise FileError(f"more than {_MOST_REDIRECTS} redirects: give the final URL")
        if not response.ok:
            raise FileError(f"the server answers {response.status_code} {response.reason or ''}".rstrip())
        return response.content


def is_url(text: str) -> bool:
    """Tell whether an argument is the http or https URL of a picture."""
    return text.lower().startswith(("http://", "https://"))


def _get(session: TimedSession, url: str, timeout_s: float, give_up_at: float, limit_bytes: int) -> requests.Response:
    try:
        return session.exchange("GET", url, give_up_at, limit_bytes, timeout=(min(_CONNECT_S, timeout_s), timeout_s))
    except TooLongError as exc:
        raise FileError(f"larger than {format_bytes(limit_bytes)}: download it yourself and give the file") from exc
    except (requests.Timeout, TooLateError) as exc:
        raise FileError(f"not downloaded within {timeout_s:g} s: raise --timeout") from exc
    except (requests.RequestException, ValueError) as exc:
        raise FileError(f"cannot be downloaded ({root_cause(exc)})") from exc


class _PlainSession(TimedSession):
    """A session that sends no password, not even one that a .netrc file holds for the host."""

    def __init__(self) -> None:
        super().__init__()
        self.auth = _unchanged


def _unchanged(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
