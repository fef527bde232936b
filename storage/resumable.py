"""One file to one upload session of Google Cloud Storage, from wherever the session stands.

google-cloud-storage begins sessions for others to fill, but cannot itself go on with one that another process began.
The protocol is small: PUT a chunk with its Content-Range; 308 says which bytes are kept, 200 that the object is there.
Before the first chunk and after every failure the session is asked where it stands, so nothing is sent twice but the
chunk that broke off. The URL is all the authority that is needed: no credentials go along.
https://cloud.google.com/storage/docs/performing-resumable-uploads
"""

import re
from pathlib import Path
from typing import BinaryIO

import requests
from google.api_core.exceptions import from_http_response
from google.api_core.retry import Retry

from shardline.storage.store import Progress

CHUNK_BYTES = 8 * 1024**2  # a multiple of 256 KiB, as all but the last must be
TIMEOUT_S = 60.0  # of connecting, and between two bytes

_KEPT = re.compile(r"bytes=0-([0-9]+)")


class LostSessionError(Exception):
    """The session is over or was never there: begin another."""


def send_file(url: str, path: Path, retry: Retry, progress: Progress) -> None:
    """Send what the session at `url` lacks of the file at `path`; the object is there afterwards.

    Raises:
        LostSessionError: nothing can be sent to this session.
        google.api_core.exceptions.GoogleAPIError, requests.RequestException: what `retry` gave up on.
    """
    with path.open("rb") as file, requests.Session() as http:
        upload = _Upload(http, url, file, path.stat().st_size)
        retry(upload.ask)()
        progress.there(upload.kept_bytes)
        while not upload.is_done:
            before = upload.kept_bytes
            retry(upload.send_chunk)()
            progress.moved(upload.kept_bytes - before)


class _Upload:
    def __init__(self, http: requests.Session, url: str, file: BinaryIO, size_bytes: int) -> None:
        self._http, self._url, self._file, self._size_bytes = http, url, file, size_bytes
        self._is_sure = False  # that the session keeps `kept_bytes`
        self.kept_bytes = 0
        self.is_done = False

    def ask(self) -> None:
        """Where does the session stand?"""
        self._take(self._put(b"", f"bytes */{self._size_bytes}"))

    def send_chunk(self) -> None:
        """Send the next one. To be called again after a failure."""
        if not self._is_sure:
            self.ask()
        if self.is_done:
            return
        self._is_sure = False
        self._file.seek(self.kept_bytes)
        chunk = self._file.read(CHUNK_BYTES)
        last = self.kept_bytes + len(chunk) - 1
        self._take(self._put(chunk, f"bytes {self.kept_bytes}-{last}/{self._size_bytes}"))

    def _put(self, data: bytes, content_range: str) -> requests.Response:
        headers = {"Content-Range": content_range}
        return self._http.put(self._url, data=data, headers=headers, timeout=TIMEOUT_S, allow_redirects=False)

    def _take(self, reply: requests.Response) -> None:
        if reply.status_code in (404, 410):
            raise LostSessionError
        if reply.status_code not in (200, 201, 308):
            raise from_http_response(reply)
        self.is_done = reply.status_code != 308
        self.kept_bytes = self._size_bytes if self.is_done else _kept_bytes(reply)
        self._is_sure = True


def _kept_bytes(reply: requests.Response) -> int:
    """Without a Range nothing is kept; an emulator says 0-0 in its place."""
    match = _KEPT.fullmatch(reply.headers.get("Range", ""))
    return int(match[1]) + 1 if match and match[1] != "0" else 0
