"""The emulator of Google Cloud Storage: idle clients block nobody, and it says why it cannot start."""

import itertools
import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import requests
from services.bucket import emulating

from shardline.storage.emulator import serve
from shardline.wire.errors import StorageError
from shardline.wire.limits import MIB


@pytest.mark.slow
def test_an_idle_client_blocks_nobody(tmp_path: Path) -> None:
    with emulating(tmp_path) as url:
        parts = urlsplit(url)
        with socket.create_connection((parts.hostname or "", parts.port or 0)):
            assert requests.get(f"{url}/storage/v1/b", timeout=10).status_code == 200


@pytest.mark.slow
def test_clients_that_send_or_read_nothing_block_nobody(tmp_path: Path) -> None:
    """One announces a body and does not send it, one asks for 16 MiB and does not read."""
    with emulating(tmp_path, "models") as url:
        requests.post(f"{url}/upload/storage/v1/b/models/o?uploadType=media&name=large", bytes(16 * MIB), timeout=30)
        address = (urlsplit(url).hostname or "", urlsplit(url).port or 0)
        with socket.create_connection(address) as sends_nothing, socket.create_connection(address) as reads_nothing:
            sends_nothing.sendall(b"POST /upload/storage/v1/b/models/o?name=x HTTP/1.1\r\nContent-Length: 9\r\n\r\n")
            reads_nothing.sendall(b"GET /storage/v1/b/models/o/large?alt=media HTTP/1.1\r\n\r\n")
            assert reads_nothing.recv(1)

            assert requests.get(f"{url}/storage/v1/b", timeout=10).status_code == 200


@pytest.mark.slow
def test_pages_in_a_browser_are_refused(tmp_path: Path) -> None:
    with emulating(tmp_path, "models") as url:
        assert requests.get(f"{url}/wipe", timeout=10).status_code == 403
        page = {"Origin": "http://example.com"}
        assert requests.post(f"{url}/storage/v1/b", json={"name": "b"}, headers=page, timeout=10).status_code == 403
        assert requests.get(f"{url}/storage/v1/b/models", timeout=10).status_code == 200


@pytest.mark.slow
def test_a_kill_leaves_a_folder_that_can_be_served(tmp_path: Path) -> None:
    """Killed at a random moment while objects are written: every object that is there is whole."""
    for round_number in range(3):
        with emulating(tmp_path, "models") as url:
            listed = requests.get(f"{url}/storage/v1/b/models/o", timeout=10).json()
            names = [item["name"] for item in listed.get("items", [])]
            for name in names:
                content = requests.get(f"{url}/storage/v1/b/models/o/{name}?alt=media", timeout=10).content
                assert len(content) == MIB
            with pytest.raises(requests.ConnectionError):
                write_until_killed(url, round_number)
    assert names


def write_until_killed(url: str, round_number: int) -> None:
    """Write objects of 1 MiB until the emulator, whose process listens at the URL, is gone."""
    port = urlsplit(url).port
    [process] = {
        connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN
    }
    threading.Timer(0.3, psutil.Process(process).kill).start()
    for number in itertools.count():
        upload = f"{url}/upload/storage/v1/b/models/o?uploadType=media&name={round_number}-{number}"
        requests.post(upload, bytes(MIB), timeout=10)


def refuse(url: str) -> None:
    pytest.fail(f"it serves at {url}")


def test_a_full_disk_is_an_answer_at_once(tmp_path: Path) -> None:
    with emulating(tmp_path, "models") as url:
        (tmp_path / ".cloudstorage" / ".partial").unlink(missing_ok=True)
        (tmp_path / ".cloudstorage" / ".partial").symlink_to("/dev/full")
        reply = requests.post(f"{url}/upload/storage/v1/b/models/o?uploadType=media&name=x", b"y" * 9, timeout=10)

    assert reply.status_code == 507
    assert "No space left on device" in reply.text


def test_taken_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        with pytest.raises(StorageError, match=rf":{port} cannot be opened .*choose another --host"):
            serve(tmp_path, ["models"], host="127.0.0.1", port=port, on_ready=refuse)


def test_a_port_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="65536 cannot be opened"):
        serve(tmp_path, [], host="127.0.0.1", port=65536, on_ready=refuse)


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / ".cloudstorage").mkdir()
    (tmp_path / ".cloudstorage/.meta").write_text("{")

    with pytest.raises(StorageError, match=r"is not a folder of the emulator .*choose another --folder"):
        serve(tmp_path, [], host="127.0.0.1", port=0, on_ready=refuse)
