"""`shardline serve`: one command from a model to a served chain, and nothing left after Ctrl-C."""

import json
import os
import shlex
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import requests
from services.cli import run_command as shardline
from services.processes import ROOT, free_port, running, stop, wait_until

from shardline.commands.local import first_requests
from shardline.storage.bundle import InputSpec, TensorSpec
from shardline.storage.bundle_folder import open_bundle


@pytest.mark.slow
def test_serves_a_model_and_prints_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port, log = free_port(), tmp_path / "log"
    url = f"http://127.0.0.1:{port}/v1/models/residual:predict"
    (tmp_path / "tmp").mkdir()
    env = os.environ | {
        "PYTHONPATH": str(ROOT / "tests"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "TMPDIR": str(tmp_path / "tmp"),
    }
    options = ("--size", "32", "--stages", "2", "--hop", "0.4,3", "--threads", "1", "--port", str(port))
    command = [sys.executable, "-m", "shardline.entry", "serve", "services.small_models:residual", *options]
    with running(command, log, env) as process:
        wait_until(lambda: process.poll() is not None or "Ctrl-C stops it" in log.read_text(), "the chain")
        assert process.poll() is None, log.read_text()
        lines = log.read_text().splitlines()
        request, curl = (
            shlex.split(next(line for line in lines if line.startswith(word))) for word in ("shardline", "curl")
        )
        children = psutil.Process(process.pid).children(recursive=True)
        answered = shardline(*request[1:])
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
        status = shardline("status", "residual", "--local")
        described = json.loads(shardline("status", "--local", "--json").stdout)
        posted = requests.post(curl[-1], data=Path(curl[2].removeprefix("@")).read_bytes(), timeout=60)
        ended = stop(process, signal.SIGINT)

    assert lines[0].startswith("build: services.small_models:residual as ")
    assert url in lines
    assert request[-1] == curl[-1] == url
    assert answered.stdout
    assert posted.status_code == 200
    assert status.stdout.splitlines() == [
        f"residual: ready, {url}, process {process.pid}",
        *(f"  residual-{part}: ready" for part in ("pre", "0", "1", "router")),
    ]
    assert [run["url"] for run in described] == [url]
    assert shardline("status", "--local", code=1).stderr.startswith("error: no such chain runs on this machine")
    assert ended == 0
    assert len(children) == 5  # the supervisor, transformer, two stages and the router
    assert not any(child.is_running() for child in children)
    assert list((tmp_path / "tmp").iterdir()) == []
    [bundle] = (tmp_path / "cache" / "shardline" / "bundles").glob("residual-*")
    assert curl[2] == f"@{bundle}/golden.png"


def test_options_that_a_bundle_cannot_take_are_refused(small_bundle: Path) -> None:
    failed = shardline("serve", str(small_bundle), "--stages", "4", "--mean", "0.5,0.5,0.5", code=1)

    [line] = failed.stderr.splitlines()
    assert line == (f"error: {small_bundle} is a bundle, and is served as it was built: leave out --mean, --stages")


def test_a_model_that_cannot_be_built_leaves_no_bundle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    failed = shardline("serve", "services.small_models:nothing", "--size", "32", code=1)

    assert "nothing" in failed.stderr.splitlines()[-1]
    assert [path for path in (tmp_path / "shardline" / "bundles").iterdir() if path.suffix != ".lock"] == []


def test_a_model_with_further_inputs_is_sent_its_golden_request(tmp_path: Path, small_bundle: Path) -> None:
    """The bundle's description alone decides: nothing is served here."""
    bundle = open_bundle(small_bundle)
    first, *others = bundle.stages
    mask = TensorSpec(name="mask", dtype="F32", shape=("batch", 3), dim_order=(0, 1))
    first = replace(first, inputs=(*first.inputs, mask))
    inputs = (InputSpec(name="mask", kind="tensor", dtype="F32", shape=(3,)),)
    (tmp_path / "bundle.json").write_bytes(replace(bundle, inputs=inputs, stages=(first, *others)).to_json())
    (tmp_path / "golden-request.json").write_text("{}")

    request, curl = first_requests(tmp_path, "http://127.0.0.1:1/v1/models/small:predict")

    assert "--input=mask=@FILE" in request.split()
    assert f"@{tmp_path}/golden-request.json" in curl.split()
