"""The demo as `make demo` runs it, but of a small model."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from services.processes import ROOT

pytestmark = pytest.mark.slow


def test_the_demo_ends_even_where_sigint_is_ignored(tmp_path: Path) -> None:
    """As it is in whatever a script starts in the background."""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "examples" / "demo.py"), "--model", "torchvision:squeezenet1_1"]
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        demo = subprocess.Popen([*command, "--stages", "2"], cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        text, _ = demo.communicate(timeout=300)
    finally:
        demo.kill()

    assert demo.returncode == 0, text
    assert "$ shardline push bundles/squeezenet1-1 gs://models/demo" in text
    assert "split == whole: 12 of 12 pictures" in text


def test_the_demo_reads_the_plate_that_it_drew(tmp_path: Path) -> None:
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "examples" / "demo.py"), "--model", "plates", "--seed", "3"]
    done = subprocess.run(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True, timeout=500)

    assert done.returncode == 0, done.stdout
    assert "read == drawn: regular 01C 2188" in done.stdout
    assert "split == whole" in done.stdout
