"""GcsStore: gs://bucket/prefix, Google Cloud Storage or what STORAGE_EMULATOR_HOST names in its place.

Every object gets its MD5 before its bytes: Google refuses what arrives otherwise, and KServe's downloader, which
passes over objects without one, checks it again. Calls are repeated for `Access.retry_s` where that can help: they
may, since writing the same content twice changes nothing.
"""

import base64
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import google.auth
from google.api_core.exceptions import ClientError, NotFound
from google.cloud import storage
from google.cloud.storage.retry import DEFAULT_RETRY

from shardline.storage.gcs_errors import as_gcs_error
from shardline.storage.resumable import CHUNK_BYTES, TIMEOUT_S, LostSessionError, send_file
from shardline.storage.sessions import Slot, session_slot
from shardline.storage.store import SILENT, Access, Entry, Progress, as_storage_error, checked_name, is_inside
from shardline.wire.errors import StorageError

_URI = re.compile(r"gs://(?P<bucket>[a-z0-9][-a-z0-9_.]{1,220}[a-z0-9])(?:/(?P<prefix>[^?#*\[\]]+))?")
_SCOPES = ["https://www.googleapis.com/auth/devstorage.read_write"]
_CONTENT_TYPE = "application/octet-stream"
_PARTIAL = ".partial"
_SESSION_SURVIVES = (401, 403, 408, 429)  # what is wrong then is not the session


def open_gcs(uri: str, access: Access) -> "GcsStore":
    """'gs://bucket/prefix' -> its store; nothing is asked yet.

    Raises:
        StorageError: not such a URI, or no credentials.
    """
    match = _URI.fullmatch(uri.removesuffix("/"))
    prefix = match["prefix"] if match else None
    if match is None or (prefix and not is_inside(prefix)):
        raise StorageError(f"{uri!r} is no URI of a bucket: write gs://bucket/prefix, without '?', '#', '*' and '..'")
    with as_gcs_error(f"gs://{match['bucket']}"):
        return GcsStore(_client(access).bucket(match["bucket"]), prefix or "", retry_s=access.retry_s)


def _client(access: Access) -> storage.Client:
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
    """The objects below a prefix. A read or write of one object is atomic, as Google has it."""

    def __init__(self, bucket: storage.Bucket, prefix: str, *, retry_s: float) -> None:
        self._bucket = bucket
        self._root = f"{prefix}/" if prefix else ""
        self._retry = DEFAULT_RETRY.with_timeout(retry_s)
        self._endpoint = str(bucket.client.api_endpoint)

    def names(self, prefix: str = "") -> list[str]:
        return [entry.name for entry in self.entries(prefix)]

    def entries(self, prefix: str = "") -> list[Entry]:
        with as_gcs_error(self._uri("")):
            blobs = self._bucket.list_blobs(
                prefix=self._root + prefix,
                fields="items(name,size,updated),nextPageToken",
                timeout=TIMEOUT_S,
                retry=self._retry,
            )
            entries = (
                Entry(name=blob.name.removeprefix(self._root), size_bytes=blob.size, modified=blob.updated)
                for blob in blobs
            )
            return sorted((entry for entry in entries if is_inside(entry.name)), key=lambda entry: entry.name)

    def holds(self, name: str, path: Path) -> bool:
        with self._object(name) as blob:
            with as_storage_error(str(path)):
                size_bytes, md5 = path.stat().st_size, _md5(path)
            try:
                blob.reload(timeout=TIMEOUT_S, retry=self._retry)
            except NotFound:
                return False
            return bool(blob.size == size_bytes and blob.md5_hash == md5)

    def read(self, name: str) -> bytes:
        with self._object(name, is_read=True) as blob:
            return bytes(blob.download_as_bytes(checksum="crc32c", timeout=TIMEOUT_S, retry=self._retry))

    def write(self, name: str, data: bytes) -> None:
        with self._object(name) as blob:
            blob.md5_hash = _base64(hashlib.md5(data, usedforsecurity=False).digest())
            blob.upload_from_string(data, _CONTENT_TYPE, timeout=TIMEOUT_S, retry=self._retry)

    def put(self, name: str, path: Path, progress: Progress = SILENT) -> None:
        checked_name(name)
        with as_storage_error(str(path)):
            size_bytes, md5 = path.stat().st_size, _md5(path)
            small = path.read_bytes() if size_bytes <= CHUNK_BYTES else None
        if small is not None:  # one request; a session takes three
            self.write(name, small)
            progress.moved(size_bytes)
            return
        with self._object(name) as blob, session_slot(self._endpoint, self._uri(name), md5) as slot:
            blob.md5_hash = md5
            self._send(blob, path, slot, progress)

    def _send(self, blob: storage.Blob, path: Path, slot: Slot, progress: Progress) -> None:
        """Through the session that an earlier process began, if it is still good, else through a new one."""
        for url in (slot.url, ""):
            slot.remember(url or self._begin(blob, path))
            try:
                send_file(slot.url, path, self._retry, progress)
            except LostSessionError:
                continue
            except ClientError as exc:
                if exc.code not in _SESSION_SURVIVES:
                    slot.remember("")
                raise
            slot.remember("")
            return
        raise StorageError(f"{path} cannot be sent, Google ends its upload sessions: run the command again")

    def _begin(self, blob: storage.Blob, path: Path) -> str:
        url = blob.create_resumable_upload_session(
            _CONTENT_TYPE, size=path.stat().st_size, timeout=TIMEOUT_S, retry=self._retry
        )
        return str(url)

    def save(self, name: str, path: Path, progress: Progress = SILENT) -> None:
        with self._object(name, is_read=True) as blob, _replacing(path) as file:
            counted = _Counted(file, progress)
            blob.download_to_file(counted, checksum="crc32c", timeout=TIMEOUT_S, retry=self._retry)

    def delete(self, name: str) -> None:
        with self._object(name) as blob, suppress(NotFound):
            blob.delete(timeout=TIMEOUT_S, retry=self._retry)

    @contextmanager
    def _object(self, name: str, *, is_read: bool = False) -> Iterator[storage.Blob]:
        uri = self._uri(checked_name(name))
        with as_gcs_error(uri):
            try:
                yield self._bucket.blob(self._root + name)
            except NotFound as exc:
                if is_read:
                    raise StorageError(f"{uri} is not there: was it pushed to this place?") from exc
                raise

    def _uri(self, name: str) -> str:
        return f"gs://{self._bucket.name}/{self._root}{name}"


class _Counted:
    """A file to write to that tells how much was written."""

    def __init__(self, file: BinaryIO, progress: Progress) -> None:
        self._file, self._progress = file, progress

    def write(self, data: bytes) -> int:
        written = self._file.write(data)
        self._progress.moved(written)
        return written


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file that takes the place of `path` once all of it came."""
    partial = path.with_name(f".{path.name}{_PARTIAL}")
    with as_storage_error(str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = partial.open("wb")
    try:
        with file:
            yield file
        with as_storage_error(str(path)):
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
    return _base64(digest.digest())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
