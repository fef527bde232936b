"""The script as users run it: arguments, output, exit codes."""

import ast
import json
import os
import pty
import signal
import subprocess
import sys
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope.jpg"], "error: nope.jpg: no such file or folder\n"),
        (["empty"], "error: no pictures in empty: looked for .bmp"),
        (["."], "error: no pictures in .: looked for .bmp"),
        (["photo.jpg", "--url", "ftp://host"], "error: 'ftp://host' is not a URL; allowed is http://HOST:PORT"),
        (["photo.jpg", "--url", "http://"], "is not a URL"),
        (["photo.jpg", "--url", "http://host:99999"], "is not a URL"),
        (["photo.jpg", "--top", "0"], "argument --top: 0 is not 1 or more"),
        (["photo.jpg", "--jobs", "x"], "argument --jobs: invalid"),
        (["photo.jpg", "--limit-mb", "nan"], "argument --limit-mb: nan is not a positive number"),
        (["photo.jpg", "--header", "Host"], "is not of the form 'Name: value'"),
        ([], "the following arguments are required: PICTURE"),
    ],
)
def test_wrong_usage_is_said_and_ends_with_2(client: Any, tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "empty").mkdir()
    if "." not in arguments:
        (tmp_path / "photo.jpg").write_bytes(b"...")
    result = client(*arguments)

    assert (result.code, result.out) == (2, "")
    assert message in result.err


def test_a_server_that_is_away_is_said_once_and_ends_with_3(client: Any, photos: Path) -> None:
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


def test_a_reader_that_has_enough_is_no_error(command: list[str], serve: Any, photo: Path, answer: Any) -> None:
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


def test_only_requests_numpy_and_pillow_are_needed() -> None:
    program = (
        "import sys, shardline.client.request\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules} & set(sys.argv[1].split(','))))"
    )
    heavy = (
        "torch,torchvision,kserve,kubernetes,websocket,yaml,safetensors,typer,rich,google,aiohttp,storage,predictors"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, heavy], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.strip() == ""


@pytest.mark.parametrize("module", sorted((ROOT / "client").glob("*.py")), ids=lambda path: path.name)
def test_modules_bear_no_standard_name_and_import_little(module: Path) -> None:
    tree = ast.parse(module.read_text())
    # what a cluster needs is imported inside the functions that ask one
    late = {node for one in ast.walk(tree) if isinstance(one, ast.FunctionDef) for node in ast.walk(one)}
    imports = [node for node in {*ast.walk(tree)} - late if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in imports if isinstance(node, ast.ImportFrom) and node.module}
    allowed = {*sys.stdlib_module_names, "requests", "urllib3", "numpy", "PIL", "client", "wire"}

    assert module.stem not in sys.stdlib_module_names
    assert {name.partition(".")[0] for name in names} <= allowed
