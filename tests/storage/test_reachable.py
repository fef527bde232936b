"""The check that the server of a bucket answers: within seconds, and with the command that starts it again."""

import socket
from collections.abc import Iterator

import pytest

from shardline.storage.initializer import fetch
from shardline.storage.reachable import check_reachable
from shardline.wire.errors import StorageError


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def listener() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_nothing_answers_at_the_emulators_address(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")

    with pytest.raises(StorageError, match=r"nothing answers at STORAGE_EMULATOR_HOST=http://127\.0\.0\.1:1 .*refused"):
        check_reachable("gs://models/demo")
    with pytest.raises(StorageError, match="`shardline emulator --port 1`"):
        fetch("gs://models/demo", tmp_path)  # type: ignore[arg-type]


@pytest.mark.parametrize("scheme", ["http://", ""])
def test_one_that_listens(listener: str, scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"{scheme}{listener}")

    check_reachable("gs://models/demo")


def test_a_server_that_never_accepts_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """192.0.2.1 is reserved for documentation: nobody has it."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://192.0.2.1:4443")

    with pytest.raises(StorageError, match=r"nothing answers at STORAGE_EMULATOR_HOST=http://192\.0\.2\.1:4443"):
        check_reachable("gs://models/demo", timeout_s=0.2)


def test_not_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://")

    with pytest.raises(StorageError, match="STORAGE_EMULATOR_HOST is 'http://', which is not a URL"):
        check_reachable("gs://models/demo")


def test_what_is_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")
    check_reachable("file:///models")
    check_reachable("s3://models")

    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    check_reachable("gs://models/demo")
