"""The emulator of Google Cloud Storage: idle clients block nobody, and it says why it cannot start."""

import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from services.bucket import emulating

from shardline.storage.emulator import serve
from shardline.wire.errors import StorageError


@pytest.mark.slow
def test_an_idle_client_blocks_nobody(tmp_path: Path) -> None:
    with emulating(tmp_path) as url:
        parts = urlsplit(url)
        with socket.create_connection((parts.hostname or "", parts.port or 0)):
            assert requests.get(f"{url}/storage/v1/b", timeout=10).status_code == 200


def refuse(url: str) -> None:
    pytest.fail(f"it serves at {url}")


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
