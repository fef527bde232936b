"""The example that finds digits by their neighbours, on digits that are learned within seconds."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from services.processes import ROOT
from services.tiny_digits import write_mnist


@pytest.mark.slow
def test_digits_are_found_by_their_neighbours(tmp_path: Path) -> None:
    write_mnist(tmp_path / "mnist")
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [
        sys.executable,
        str(ROOT / "examples" / "retrieval_mnist.py"),
        "mnist",
        "--stages",
        "2",
        "--kind",
        "flat",
    ]
    options = ["--pictures", "1600", "--batch", "64", "--threads", "1", "--workers", "0"]
    done = subprocess.run(
        [*command, "--", *options], cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True, timeout=300, check=False
    )

    assert done.returncode == 0, done.stdout
    assert "split == whole" in done.stdout
    found = re.search(r"60 test pictures, 8 clients: vote right (\S+), recall@10 1.0000", done.stdout)
    assert found is not None, done.stdout
    assert float(found[1]) >= 0.97
