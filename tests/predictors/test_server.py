"""A server's process: its routes beside predict, its end, and its memory settings."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from services.processes import ROOT, answers, free_port, running, wait_until

from shardline.predictors.server import arguments, keep_freed_memory
from shardline.wire.limits import BODY_BYTES


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("echo") / "log"


@pytest.fixture(scope="module")
def server(log: Path) -> Iterator[str]:
    """URL of a server around a model that does nothing."""
    port = free_port()
    command = [sys.executable, str(ROOT / "tests" / "services" / "echo.py"), "--model_name=echo", f"--http_port={port}"]
    with running(command, log) as process:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: process.poll() is not None or answers(f"{url}/v1/models/echo"), "the server")
        assert process.poll() is None, log.read_text()
        yield url


@pytest.mark.parametrize("action", ["load", "unload"])
def test_requests_cannot_load_or_unload_the_model(server: str, action: str) -> None:
    """KServe's own server would do it for everyone who reaches its port."""
    reply = requests.post(f"{server}/v2/repository/models/echo/{action}", timeout=10)

    assert reply.status_code == 403
    assert reply.json() == {"error": "echo: no request loads or unloads a model: to change it apply another manifest"}
    assert requests.get(f"{server}/v1/models/echo", timeout=10).json() == {"name": "echo", "ready": True}


def test_an_unknown_path_is_one_short_line_of_the_log(server: str, log: Path) -> None:
    before = log.stat().st_size

    for path in ("/v1/models/x%0aerror:%20y%1b[2J", "/v1/models/" + "z" * 3000):
        assert requests.get(f"{server}{path}", timeout=10).status_code == 404
    lines = log.read_bytes()[before:].decode().splitlines()

    assert len(lines) == 2
    assert all(len(line) < 400 and line.isprintable() for line in lines)
    assert "x\N{REPLACEMENT CHARACTER}error: y\N{REPLACEMENT CHARACTER}[2J" in lines[0]


def test_metrics_and_health_are_kserves(server: str) -> None:
    assert requests.get(f"{server}/v2/health/ready", timeout=10).json() == {"ready": True}
    assert "request_predict_seconds" in requests.get(f"{server}/metrics", timeout=10).text


def test_an_error_of_the_user_is_one_line_and_exit_code_1() -> None:
    program = (
        "from shardline.predictors.server import run_main\nfrom shardline.wire.errors import FileError\n"
        "def main():\n    raise FileError('weights.pt is missing')\nrun_main(main)"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1] == "error: weights.pt is missing"


def test_freed_memory_can_be_kept_in_any_process() -> None:
    keep_freed_memory()
    keep_freed_memory()


def test_defaults_of_every_server() -> None:
    parsed = arguments("Serve.").parse_args(["--model_name=x"])

    assert (parsed.max_queue, parsed.max_body_bytes, parsed.drain_seconds) == (32, BODY_BYTES, 0)
