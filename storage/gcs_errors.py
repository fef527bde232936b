"""What Google's libraries and the network raise, as one line that says what to do."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.resumable_media import DataCorruption

from shardline.wire.errors import StorageError

NO_CREDENTIALS = (
    "no Google credentials were found: run 'gcloud auth application-default login', give --key-file or set "
    "GOOGLE_APPLICATION_CREDENTIALS; for a public bucket give --anonymous"
)
_MESSAGES = {
    401: "Google asks for credentials: give --key-file, or log in and leave out --anonymous",
    403: (
        "no permission: to push, the account needs the role roles/storage.objectUser on the bucket, "
        "to read roles/storage.objectViewer"
    ),
    404: "there is no such bucket: make it, or look for a typing error",
    429: "too many requests, or the project's quota is used up: run the command again later, it goes on where it was",
}
_BROKEN_OFF = "the connection broke off: run the command again, it goes on where it was"


@contextmanager
def as_gcs_error(what: str) -> Iterator[None]:
    """`what` is the object's or the bucket's URI, gs://….

    Raises:
        StorageError: in place of all that Google's libraries raise, and of the network's and the file system's errors.
    """
    try:
        yield
    except StorageError:
        raise
    except (api.GoogleAPIError, auth.GoogleAuthError, DataCorruption, OSError, ValueError) as exc:
        raise StorageError(f"{_where(exc, what)}: {_line(exc)}") from exc


def _line(exc: BaseException) -> str:
    match exc:
        case api.RetryError():
            return _line(exc.cause) if exc.cause is not None else _BROKEN_OFF
        case api.GoogleAPICallError():
            meaning = _MESSAGES.get(exc.code or 0, "Google Cloud Storage refused")
            return f"{meaning} ({exc.code}{_said(exc)})"
        case auth.InvalidOperation():  # what Anonymous credentials say to a 401
            return _MESSAGES[401]
        case auth.DefaultCredentialsError():
            return NO_CREDENTIALS
        case auth.TransportError():
            return f"{_BROKEN_OFF} ({_first_line(exc)})"
        case auth.GoogleAuthError():
            return f"the credentials were refused ({_first_line(exc)}): log in again or give another --key-file"
        case DataCorruption():
            return "what came is not what is stored, its checksum differs: run the command again"
        case OSError(filename=str(name)) if exc.strerror:
            return f"{name} cannot be read or written: {exc.strerror}"
        case _:
            return f"{_BROKEN_OFF} ({_first_line(exc)})"


def _where(exc: BaseException, what: str) -> str:
    """What a bucket refuses it refuses for all that is in it."""
    code = getattr(getattr(exc, "cause", None) or exc, "code", None)
    return "/".join(what.split("/")[:3]) if code in _MESSAGES else what


def _said(exc: api.GoogleAPICallError) -> str:
    """Google's own words; not the method, the URL and what else its libraries put around them."""
    try:
        text = exc.response.json()["error"]["message"]
    except (AttributeError, ValueError, LookupError, TypeError):
        text = getattr(exc.response, "text", "")
    return f", {_first_line(text)}" if text else ""


def _first_line(exc: object) -> str:
    text = re.sub(r"\s+", " ", str(exc)).strip()
    return text if len(text) <= 200 else text[:199] + "…"
