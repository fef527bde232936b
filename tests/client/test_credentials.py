"""Tokens, and certificates of servers that are reached by their addresses."""

from pathlib import Path
from typing import Any

import pytest
from services.tls_server import serving_tls

from shardline.client.credentials import read_credentials
from shardline.wire.errors import FileError, UsageError


def test_an_ingress_with_a_certificate(certificate: Path, client: Any, photo: Path, answer: Any) -> None:
    """Reached by its address, it is asked for by the host's name, and its certificate has to be for that."""
    with serving_tls(certificate, answer["json"]) as url:
        trusted = client(photo, "--url", url, "--ca-file", certificate, "--header", "Host: models.example.com")
        other = client(photo, "--url", url, "--ca-file", certificate, "--header", "Host: other.com", "--retries", 0)
        stranger = client(photo, "--url", url, "--retries", 0)
        anyone = client(photo, "--url", url, "--insecure")

    assert (trusted.code, trusted.err) == (0, "")
    assert (anyone.code, anyone.err) == (0, "")
    assert (other.code, stranger.code) == (3, 3)
    assert "no TLS" in other.err
    assert "check --ca-file" in stranger.err


def test_a_token_comes_from_a_file_and_is_one_word(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("ey.J\n")
    assert read_credentials(None, file, None, insecure=False).token == "ey.J"

    file.write_text("two words")
    with pytest.raises(UsageError, match="token: not a token: it must be one word of printable ASCII"):
        read_credentials(None, file, None, insecure=False)
    with pytest.raises(UsageError, match="--token: not a token"):
        read_credentials("a b", None, None, insecure=False)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")

    with pytest.raises(FileError, match=r"none: cannot be read \(No such file or directory\)"):
        read_credentials(None, tmp_path / "none", None, insecure=False)
    with pytest.raises(FileError, match=r"binary: cannot be read \(not text\)"):
        read_credentials(None, None, binary, insecure=False)


def test_trust_is_passed_to_each_request(tmp_path: Path) -> None:
    authorities = tmp_path / "ca.pem"
    authorities.write_text("")

    assert read_credentials(None, None, None, insecure=False).verify is True
    assert read_credentials(None, None, None, insecure=True).verify is False
    assert read_credentials(None, None, authorities, insecure=False).verify == str(authorities)
