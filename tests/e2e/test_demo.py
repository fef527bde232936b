"""The demo as `make demo` runs it, in an empty folder and without the repository's scripts."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from services.processes import ROOT

pytestmark = pytest.mark.slow


def run_demo(folder: Path, *options: str) -> str:
    """Run the demo in `folder`, with SIGINT ignored as in a script's background jobs, and return its output."""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "shardline.entry", "demo", *options]
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        demo = subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        text, _ = demo.communicate(timeout=500)
    finally:
        demo.kill()
    assert demo.returncode == 0, text
    return text


def test_reads_the_plate_that_it_drew(tmp_path: Path) -> None:
    text = run_demo(tmp_path, "plates", "--seed", "3")

    assert "read == drawn: regular 01C 2188" in text
    assert "$ shardline push bundles/plates gs://models/demo" in text
    assert "split == whole" in text
    assert "shardline up bundles/plates" in text.splitlines()[-1]


@pytest.mark.heavy
def test_serves_another_model(tmp_path: Path) -> None:
    text = run_demo(tmp_path, "torchvision:squeezenet1_1", "--stages", "2")

    assert "$ shardline push bundles/squeezenet1-1 gs://models/demo" in text
    assert "split == whole: 12 of 12 pictures" in text
