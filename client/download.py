"""Pictures at a URL: download over http or https, with limits on size and time, without any credentials of the user."""

import time
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

import requests

from shardline.client.remedies import root_cause
from shardline.wire.errors import FileError
from shardline.wire.limits import MIB, format_bytes

DOWNLOAD_BYTES = 64 * MIB

_CHUNK_BYTES = 64 * 1024
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
            session.max_redirects = _MOST_REDIRECTS
            # a proxy to the outside does not lead back to this machine
            session.trust_env = urlsplit(self.url).hostname not in ("127.0.0.1", "localhost", "::1")
            try:
                with session.get(self.url, stream=True, timeout=(min(_CONNECT_S, timeout_s), timeout_s)) as response:
                    if not response.ok:
                        raise FileError(f"the server answers {response.status_code} {response.reason or ''}".rstrip())
                    return _read(response, limit_bytes, give_up_at, timeout_s)
            except requests.Timeout as exc:
                raise _too_slow(timeout_s) from exc
            except requests.TooManyRedirects as exc:
                raise FileError(f"more than {_MOST_REDIRECTS} redirects: give the final URL") from exc
            except requests.exceptions.InvalidSchema as exc:
                raise FileError("redirected to a URL that is not http or https: download it yourself") from exc
            except (requests.RequestException, ValueError) as exc:
                raise FileError(f"cannot be downloaded ({root_cause(exc)})") from exc


def is_url(text: str) -> bool:
    """Tell whether an argument is the http or https URL of a picture."""
    return text.lower().startswith(("http://", "https://"))


def _read(response: requests.Response, limit_bytes: int, give_up_at: float, timeout_s: float) -> bytes:
    data = bytearray()
    for chunk in response.iter_content(_CHUNK_BYTES):
        data += chunk
        if len(data) > limit_bytes:
            raise FileError(f"larger than {format_bytes(limit_bytes)}: download it yourself and give the file")
        if time.monotonic() > give_up_at:
            raise _too_slow(timeout_s)
    return bytes(data)


def _too_slow(timeout_s: float) -> FileError:
    return FileError(f"not downloaded within {timeout_s:g} s: raise --timeout")


class _PlainSession(requests.Session):
    """A session that sends no password, not even one that a .netrc file holds for the host."""

    def __init__(self) -> None:
        super().__init__()
        self.auth = _unchanged

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Add nothing after a redirect either."""


def _unchanged(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
