"""The command as users run it: output and exit codes."""

import json
import os
import pty
import signal
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

TABLE = """\
  1  Egyptian cat   61.23%  ██████████████▊
  2  tabby          25.00%  ██████
"""


def test_a_photograph_gives_a_table(client: Any, serve: Any, photo: Path, answer: Any) -> None:
    server = serve({"POST /": [answer]})
    result = client(photo, "--url", server.url)

    assert (result.code, result.err) == (0, "")
    assert result.out == f"{photo}\n{TABLE}"
    (request,) = server.requests()
    assert request.headers["Content-Type"] == "image/jpeg"
    assert request.body == photo.read_bytes()


def test_random_weights_are_named_once(client: Any, serve: Any, photo: Path, answer: Any) -> None:
    card = {"json": {**answer["json"], "model": {"weights": "random:0"}}}
    result = client(photo, photo, "--url", serve({"POST /": [card]}).url)
    trained = {"json": {**answer["json"], "model": {"weights": ["random"]}}}

    assert (result.code, result.err) == (0, "the weights are random: labels, scores and positions mean nothing\n")
    assert client(photo, "--url", serve({"POST /": [trained]}).url).err == ""


def test_folders_are_searched_and_answered_in_order(client: Any, serve: Any, photos: Path) -> None:
    # the first reply waits until all four requests are there
    late = {"json": {"predictions": [{"bytes": "SIZE"}]}, "after": 4}
    server = serve({"POST /": [late, {"json": {"predictions": [{"bytes": "SIZE"}]}}]})
    result = client(photos, "--url", server.url, "--json")

    expected = [photos / name for name in ("a/coffee.png", "astronaut.png", "b/chelsea.PNG", "rocket.jpg")]
    assert (result.code, result.err) == (0, "")
    assert [json.loads(line) for line in result.out.splitlines()] == [
        {"image": str(path), "predictions": [{"bytes": str(path.stat().st_size)}]} for path in expected
    ]


def test_a_failed_picture_does_not_stop_the_others(client: Any, serve: Any, photo: Path, answer: Any) -> None:
    server = serve({"POST /": [answer, {"status": 400, "json": {"error": "instance 0: not a picture"}}, answer]})
    bad = photo.with_name("b\na\x1bd.jpg")
    bad.write_bytes(b"hello")
    result = client(photo, bad, photo, "--url", server.url, "--jobs", 1, "--json")

    lines = [json.loads(line) for line in result.out.splitlines()]
    assert result.code == 1
    assert [list(line) for line in lines] == [["image", "predictions"], ["image", "error"], ["image", "predictions"]]
    assert lines[1] == {"image": str(bad), "error": "400: instance 0: not a picture"}
    assert (
        result.err
        == f"error: {bad.parent}/b\N{REPLACEMENT CHARACTER}a\N{REPLACEMENT CHARACTER}d.jpg: {lines[1]['error']}\n"
    )


def test_a_picture_may_come_from_a_url(client: Any, serve: Any, photo: Path, answer: Any, tmp_path: Path) -> None:
    """The token is for the server alone."""
    server = serve({"POST /": [answer], "GET /a/cat.jpg?size=1": [{"file": str(photo)}]})
    url = f"{server.url}/a/cat.jpg?size=1"
    result = client(url, "--url", server.url, "--token", "secret", "--save", "out")

    assert (result.code, result.err) == (0, "")
    assert result.out == f"{url}\n{TABLE}"
    download, request = server.requests()
    assert "Authorization" not in download.headers
    assert request.headers["Authorization"] == "Bearer secret"
    assert request.body == photo.read_bytes()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["cat.png"]


def test_a_picture_may_come_on_stdin(command: list[str], serve: Any, photo: Path, answer: Any) -> None:
    """As it does into a pod, where there are no files of the user's."""
    server = serve({"POST /": [answer]})
    with photo.open("rb") as picture:
        done = subprocess.run([*command, "-", "--url", server.url], stdin=picture, capture_output=True, timeout=60)

    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == f"-\n{TABLE}"
    (request,) = server.requests()
    assert request.body == photo.read_bytes()


def test_an_unreadable_picture_is_one_that_failed(client: Any, serve: Any, photo: Path, answer: Any) -> None:
    server = serve({"POST /": [answer]})
    gone = photo.with_name("gone.jpg")
    gone.symlink_to(photo.parent)
    (photo.parent / "loop.jpg").symlink_to("loop.jpg")
    result = client(photo.parent, "--url", server.url, "--json")

    assert result.code == 1
    assert "loop.jpg: cannot be read (Too many levels of symbolic links)\n" in result.err


def test_parameters_are_sent_as_json_and_timings_shown(client: Any, serve: Any, photo: Path, answer: Any) -> None:
    reply = {"json": {**answer["json"], "timings": {"transformer": 12.31, "0": 33.3, "1": 8}}}
    server = serve({"POST /": [reply]})
    shown = client(photo, "--url", server.url, "--timings", "--top", 2)
    for_programs = client(photo, "--url", server.url, "--timings", "--json")

    assert (
        "  transformer      12.3 ms\n  stage 0          33.3 ms\n  stage 1           8.0 ms\n  round trip" in shown.out
    )
    assert json.loads(for_programs.out)["timings"] == reply["json"]["timings"]
    first, second = server.requests()
    assert first.headers["Content-Type"] == "application/json"
    assert json.loads(first.body)["parameters"] == {"top": 2, "timings": True}
    assert json.loads(second.body)["parameters"] == {"timings": True}


def test_the_url_may_stand_in_the_environment(client: Any, serve: Any, photo: Path, answer: Any) -> None:
    server = serve({"POST /here": [answer]})

    assert client(photo, SHARDLINE_URL=f"{server.url}/here").code == 0


def test_headers_reach_the_server(client: Any, serve: Any, photo: Path, answer: Any) -> None:
    server = serve({"POST /": [answer]})
    client(photo, "--url", server.url, "--header", "Host: resnet50.example.com", "--header", "X-A:b")

    (request,) = server.requests()
    assert (request.headers["Host"], request.headers["X-A"]) == ("resnet50.example.com", "b")


def test_a_server_that_is_away_is_reported_once_and_ends_with_3(client: Any, photos: Path) -> None:
    result = client(photos, "--url", "127.0.0.1:1", "--retries", 0, "--json")

    assert result.code == 3
    assert result.err == "error: http://127.0.0.1:1 does not answer (Connection refused): is the server running?\n"
    assert [list(json.loads(line)) for line in result.out.splitlines()] == [["image", "error"]] * 4


def test_help_shows_examples(client: Any) -> None:
    result = client("--help")

    assert result.code == 0
    assert "python client/request.py photo.jpg" in result.out


def test_ctrl_c_ends_at_once_and_quietly(command: list[str], serve: Any, photo: Path) -> None:
    server = serve({"POST /": [{"hang": True}]})
    process = subprocess.Popen([*command, str(photo), "--url", server.url], stderr=subprocess.PIPE)
    server.next_request()
    process.send_signal(signal.SIGINT)

    _, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (130, b"")


def test_a_reader_that_closes_the_pipe_is_no_error(command: list[str], serve: Any, photo: Path, answer: Any) -> None:
    server = serve({"POST /": [answer]})
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*command, str(photo), "--url", server.url], stdout=writer, stderr=subprocess.PIPE, timeout=30
    )
    os.close(writer)

    assert (done.returncode, done.stderr) == (141, b"")


def test_a_terminal_gets_colour_and_a_progress_bar(command: list[str], serve: Any, photos: Path, answer: Any) -> None:
    server = serve({"POST /": [answer]})
    screen, terminal = pty.openpty()
    env = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    done = subprocess.run(
        [*command, str(photos), "--url", server.url],
        stdout=terminal, stderr=terminal, timeout=30, env={**env, "TERM": "xterm", "PYTHONUTF8": "1", "COLUMNS": "60"},
    )  # fmt: skip
    os.close(terminal)
    shown = os.read(screen, 100_000).decode()
    os.close(screen)

    assert done.returncode == 0
    assert "\r[####################" in shown
    assert "4/4\r\x1b[K" in shown
    assert f"\x1b[1m{photos}/rocket.jpg\x1b[0m" in shown


def test_only_requests_numpy_and_pillow_are_needed(
    serve: Any, photo: Path, answer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an environment with these and what they need, where shardline itself is not installed."""
    packages = tmp_path / "packages"
    packages.mkdir()
    for name in ("requests", "urllib3", "idna", "certifi", "charset-normalizer", "numpy", "pillow"):
        for top in {file.parts[0] for file in distribution(name).files or () if file.parts[0] != ".."}:
            (packages / top).symlink_to(Path(str(distribution(name).locate_file(top))))
    server = serve({"POST /": [answer]})
    monkeypatch.setenv("PYTHONPATH", str(packages))
    command = [sys.executable, "-S", str(ROOT / "client" / "request.py"), str(photo), "--url", server.url]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60)

    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == f"{photo}\n{TABLE}"
