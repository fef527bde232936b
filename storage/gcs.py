"""Google Cloud Storage as a store: gs://bucket/prefix, or an emulator that STORAGE_EMULATOR_HOST names.

Every object gets its MD5 before its bytes: Google refuses an upload that arrives otherwise, and KServe's downloader,
which skips objects without one, checks it again. Large files are sent in chunks through google-cloud-storage's own
resumable upload. Failed calls are repeated for `Access.retry_s`, writes too, since writing the same content twice
changes nothing. What Google's libraries and the network raise becomes a StorageError of one line with a remedy.
"""

import base64
import errno
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import google.auth
from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.cloud import storage
from google.cloud.storage.retry import DEFAULT_RETRY
from google.resumable_media import DataCorruption

from shardline.storage.store import SILENT, Access, Entry, Progress, as_storage_error, checked_name
from shardline.wire.errors import StorageError
from shardline.wire.limits import MIB
from shardline.wire.typed import is_relative_path

CHUNK_BYTES = 8 * MIB  # a multiple of 256 KiB, as Google requires; smaller files are sent in one request

_TIMEOUT_S = 60.0  # of connecting, and between two bytes
_URI = re.compile(r"gs://(?P<bucket>[a-z0-9][-a-z0-9_.]{1,220}[a-z0-9])(?:/(?P<prefix>[^?#*\[\]]+))?")
_SCOPES = ["https://www.googleapis.com/auth/devstorage.read_write"]
_CONTENT_TYPE = "application/octet-stream"
_PARTIAL = ".partial"
_SESSION_STATUSES = (400, 404, 410)  # of an upload session that cannot be continued

_NO_CREDENTIALS = (
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
    429: "too many requests, or the project's quota is used up: wait, and run the command again",
}
_BROKEN_OFF = "the connection broke off: run the command again, it moves only the files that are missing"


def open_gcs(uri: str, access: Access) -> "GcsStore":
    """Open the store at 'gs://bucket/prefix'; the bucket is not contacted yet.

    Raises:
        StorageError: not such a URI, or no credentials.
    """
    match = _URI.fullmatch(uri.removesuffix("/"))
    prefix = match["prefix"] if match else None
    if match is None or (prefix and not is_relative_path(prefix)):
        raise StorageError(f"{uri!r} is no URI of a bucket: write gs://bucket/prefix, without '?', '#', '*' and '..'")
    _check_emulator()
    with _as_gcs_error(f"gs://{match['bucket']}"):
        return GcsStore(_client(access).bucket(match["bucket"]), prefix or "", retry_s=access.retry_s)


def _client(access: Access) -> storage.Client:
    client = _chosen_client(access)
    if urlsplit(os.environ.get("STORAGE_EMULATOR_HOST", "")).hostname in ("127.0.0.1", "localhost", "::1"):
        client._http.trust_env = False  # a proxy to the outside does not lead back to this machine
    return client


def _check_emulator() -> None:
    """
    Raises:
        StorageError: STORAGE_EMULATOR_HOST is no URL.
    """
    host = os.environ.get("STORAGE_EMULATOR_HOST", "")
    if host and not host.startswith(("http://", "https://")):
        raise StorageError(f"STORAGE_EMULATOR_HOST is {host!r}, which is no URL: set it to http://{host}")


def _chosen_client(access: Access) -> storage.Client:
    if access.key_file is not None:
        return _client_of_key(access.key_file)
    if access.anonymous or os.environ.get("STORAGE_EMULATOR_HOST"):
        return storage.Client.create_anonymous_client()
    credentials, project = google.auth.default(scopes=_SCOPES)
    return storage.Client(project=project or "<none>", credentials=credentials)  # objects need no project


def _client_of_key(path: Path) -> storage.Client:
    try:
        return storage.Client.from_service_account_json(str(path))
    except OSError as exc:
        raise StorageError(f"{path} cannot be read ({exc.strerror}): give the --key-file of a service account") from exc
    except (ValueError, KeyError, AttributeError) as exc:
        raise StorageError(f"{path} is no key file of a service account: download its JSON key again") from exc


class GcsStore:
    """The objects below a prefix of a bucket. Reads and writes of one object are atomic, as Google guarantees."""

    def __init__(self, bucket: storage.Bucket, prefix: str, *, retry_s: float) -> None:
        self._bucket = bucket
        self._root = f"{prefix}/" if prefix else ""
        self._retry = DEFAULT_RETRY.with_timeout(retry_s)

    def names(self, prefix: str = "") -> list[str]:
        return [entry.name for entry in self.entries(prefix)]

    def entries(self, prefix: str = "") -> list[Entry]:
        with _as_gcs_error(self._uri("")):
            blobs = self._bucket.list_blobs(
                prefix=self._root + prefix,
                fields="items(name,size,updated),nextPageToken",
                timeout=_TIMEOUT_S,
                retry=self._retry,
            )
            entries = (
                Entry(name=blob.name.removeprefix(self._root), size_bytes=blob.size, modified=blob.updated)
                for blob in blobs
            )
            return sorted((entry for entry in entries if is_relative_path(entry.name)), key=lambda entry: entry.name)

    def holds(self, name: str, path: Path) -> bool:
        with self._object(name) as blob:
            with as_storage_error(str(path)):
                size_bytes, md5 = path.stat().st_size, _md5(path)
            try:
                blob.reload(timeout=_TIMEOUT_S, retry=self._retry)
            except api.NotFound:
                return False
            return bool(blob.size == size_bytes and blob.md5_hash == md5)

    def read(self, name: str) -> bytes:
        with self._object(name, is_read=True) as blob:
            return bytes(blob.download_as_bytes(checksum="crc32c", timeout=_TIMEOUT_S, retry=self._retry))

    def put(self, name: str, path: Path, progress: Progress = SILENT) -> None:
        checked_name(name)
        with as_storage_error(str(path)):
            size_bytes, md5 = path.stat().st_size, _md5(path)
            file = path.open("rb")
        with file, self._object(name, chunk_bytes=CHUNK_BYTES) as blob:
            blob.md5_hash = md5
            upload = partial(
                blob.upload_from_file,
                _CountedFile(file, progress),
                rewind=True,
                size=size_bytes,
                content_type=_CONTENT_TYPE,
                timeout=_TIMEOUT_S,
                retry=self._retry,
            )
            try:
                upload()
            except api.GoogleAPICallError as exc:
                if exc.code not in _SESSION_STATUSES:
                    raise
                # Google ends an upload session with 404 or 410. A chunk that broke off is sent again from its start:
                # Google ignores the bytes that it has already, the emulator refuses them with 400. In each case the
                # file is sent again from its start; where the bucket is missing, that costs one more request.
                upload()

    def save(self, name: str, path: Path, progress: Progress = SILENT) -> None:
        with self._object(name, is_read=True) as blob, _replacing(path) as file:
            counted = _CountedFile(file, progress)
            blob.download_to_file(counted, checksum="crc32c", timeout=_TIMEOUT_S, retry=self._retry)

    def delete(self, name: str) -> None:
        with self._object(name) as blob, suppress(api.NotFound):
            blob.delete(timeout=_TIMEOUT_S, retry=self._retry)

    @contextmanager
    def _object(self, name: str, *, is_read: bool = False, chunk_bytes: int | None = None) -> Iterator[storage.Blob]:
        uri = self._uri(checked_name(name))
        with _as_gcs_error(uri):
            try:
                yield self._bucket.blob(self._root + name, chunk_size=chunk_bytes)
            except api.NotFound as exc:
                if is_read:
                    raise StorageError(f"{uri} is not there: was it pushed to this place?") from exc
                raise

    def _uri(self, name: str) -> str:
        return f"gs://{self._bucket.name}/{self._root}{name}"


class _CountedFile:
    """A file that reports the progress of its transfer. Bytes that are read again for a retry count once."""

    def __init__(self, file: BinaryIO, progress: Progress) -> None:
        self._file, self._progress = file, progress
        self._counted_bytes = 0

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._count()
        return data

    def write(self, data: bytes) -> int:
        written = self._file.write(data)
        self._count()
        return written

    def _count(self) -> None:
        new_bytes = max(0, self._file.tell() - self._counted_bytes)
        self._counted_bytes += new_bytes
        self._progress.moved(new_bytes)  # also without new bytes: a transfer that is to stop ends here

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """Yield a new file that replaces `path` once all of it was written."""
    draft = path.with_name(f".{path.name}{_PARTIAL}")
    with as_storage_error(str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = draft.open("wb")
    try:
        with file:
            yield file
        with as_storage_error(str(path)):
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _md5(path: Path) -> str:
    """MD5 of a file in base64, as Google lists it."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
    return base64.b64encode(digest.digest()).decode()


@contextmanager
def _as_gcs_error(what: str) -> Iterator[None]:
    """Turn errors of Google's libraries, the network and the file system into a StorageError; `what` is a gs:// URI."""
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
            return f"{meaning} ({exc.code}{_google_message(exc)})"
        case auth.InvalidOperation():  # raised by anonymous credentials after a 401
            return _MESSAGES[401]
        case auth.DefaultCredentialsError():
            return _NO_CREDENTIALS
        case auth.TransportError():
            return f"{_BROKEN_OFF} ({_first_line(exc)})"
        case auth.GoogleAuthError():
            return f"the credentials were refused ({_first_line(exc)}): log in again or give another --key-file"
        case DataCorruption():
            return "the bytes received differ from the stored ones by their checksum: run the command again"
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return f"it cannot be saved ({exc.strerror}): make room on this machine and run the command again"
        case OSError(filename=str(name)) if exc.strerror:
            return f"{name} cannot be read or written: {exc.strerror}"
        case _:
            return f"{_BROKEN_OFF} ({_first_line(exc)})"


def _where(exc: BaseException, what: str) -> str:
    """Name the bucket instead of the object where the whole bucket refuses."""
    code = getattr(getattr(exc, "cause", None) or exc, "code", None)
    return "/".join(what.split("/")[:3]) if code in _MESSAGES else what


def _google_message(exc: api.GoogleAPICallError) -> str:
    """Google's own message, without the method and the URL that its libraries add."""
    try:
        text = exc.response.json()["error"]["message"]
    except (AttributeError, ValueError, LookupError, TypeError):
        text = getattr(exc.response, "text", "")
    return f", {_first_line(text)}" if text else ""


def _first_line(exc: object) -> str:
    text = re.sub(r"\s+", " ", str(exc)).strip()
    return text if len(text) <= 200 else text[:199] + "…"
