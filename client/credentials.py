"""Credentials and TLS trust for requests to a server."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.auth import AuthBase

from shardline.client.timed import TrackedAdapter
from shardline.wire.errors import FileError, UsageError
from shardline.wire.files import read_bounded


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A bearer token for the server, and which certificates of the server are trusted.

    Attributes:
        token: sent as `Authorization: Bearer …`; None: no such header.
        ca_file: PEM file with the certificate authorities to trust in place of the system's.
        insecure: trust any certificate.
    """

    token: str | None = None
    ca_file: Path | None = None
    insecure: bool = False

    @property
    def verify(self) -> bool | str:
        """The `verify` argument of each request: a session's own would give way to an environment variable."""
        return not self.insecure and (str(self.ca_file) if self.ca_file else True)

    def prepare(self, session: requests.Session, url: str, headers: Mapping[str, str]) -> None:
        """Give a session the token; if the URL has an IP address and `headers` a host, check certificates for that."""
        if self.token:
            session.auth = _BearerAuth(self.token)
        if self.insecure:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        host = next((value for name, value in headers.items() if name.lower() == "host"), "")
        if host and url.startswith("https://") and _is_address(urlsplit(url).hostname or ""):
            session.mount("https://", _NamedAdapter(host.partition(":")[0]))


def read_credentials(
    token: str | None, token_file: Path | None, ca_file: Path | None, *, insecure: bool
) -> Credentials:
    """Check the options of the command line and read the files that they name.

    Raises:
        UsageError: the token is not one word of printable ASCII.
        FileError: a file cannot be read.
    """
    if token_file:
        token = _read(token_file).strip()
    if token is not None and not (token and token.isascii() and token.isprintable() and " " not in token):
        raise UsageError(f"{token_file or '--token'}: not a token: it must be one word of printable ASCII")
    if ca_file:
        _read(ca_file)
    return Credentials(token=token, ca_file=ca_file, insecure=insecure)


def _read(path: Path) -> str:
    try:
        return read_bounded(path).decode()
    except (OSError, UnicodeDecodeError) as exc:
        raise FileError(f"{path}: cannot be read ({getattr(exc, 'strerror', None) or 'not text'})") from exc


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class _BearerAuth(AuthBase):
    """Token of each request; a header of the session would give way to what a .netrc file holds."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _NamedAdapter(TrackedAdapter):
    """HTTPS adapter that checks the certificate for `name`, whatever address the server is reached by."""

    def __init__(self, name: str) -> None:
        self._name = name
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, server_hostname=self._name, assert_hostname=self._name)
