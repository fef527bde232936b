"""As whom to ask an HTTPS server, and whom to trust to be it."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from shardline.wire.errors import RequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """`ca_file` holds the certificates that may sign the server's; `insecure` trusts anyone."""

    token: str | None = None
    ca_file: Path | None = None
    insecure: bool = False

    @property
    def verify(self) -> bool | str:
        """As requests wants it for each request: a session's own would give way to an environment variable."""
        return not self.insecure and (str(self.ca_file) if self.ca_file else True)

    def prepare(self, session: requests.Session, url: str, headers: Mapping[str, str]) -> None:
        """Give the session the token, and where the URL has only an address, the name that a certificate can be for."""
        if self.token:
            session.auth = _Bearer(self.token)
        if self.insecure:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        host = next((value for name, value in headers.items() if name.lower() == "host"), "")
        if host and url.startswith("https://") and _is_address(urlsplit(url).hostname or ""):
            session.mount("https://", _NamedAdapter(host.partition(":")[0]))


def read_access(token: str | None, token_file: Path | None, ca_file: Path | None, *, insecure: bool) -> Access:
    """From what was typed.

    Raises:
        RequestError: a file that cannot be read, or what is no token.
    """
    if token_file:
        token = _read(token_file).strip()
    if token is not None and not (token and token.isascii() and token.isprintable() and " " not in token):
        raise RequestError(f"{token_file or '--token'}: no token: it must be one word of printable ASCII")
    if ca_file:
        _read(ca_file)
    return Access(token=token, ca_file=ca_file, insecure=insecure)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise RequestError(f"{path}: cannot be read ({getattr(exc, 'strerror', None) or 'not text'})") from exc


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class _Bearer(AuthBase):
    """As a header of the session's it would give way to what a .netrc file says."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _NamedAdapter(HTTPAdapter):
    """TLS with the server's name, whatever address it is reached by."""

    def __init__(self, name: str) -> None:
        self._name = name
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, server_hostname=self._name, assert_hostname=self._name)
