"""The example that trains a classifier and serves it, on pictures that it learns within seconds."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from services.drawn_shapes import draw_shapes
from services.processes import ROOT


@pytest.mark.slow
def test_a_folder_becomes_a_served_classifier(tmp_path: Path) -> None:
    draw_shapes(tmp_path / "shapes", train=24, test=3)
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "examples" / "classifier.py"), "shapes", "--stages", "2"]
    options = ["--size", "24", "--epochs", "20", "--batch", "8", "--threads", "1", "--crop", "0.6", "--mix", "0"]
    done = subprocess.run(
        [*command, *options], cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True, timeout=300, check=False
    )

    assert done.returncode == 0, done.stdout
    assert "split == whole: 9 of 9 pictures" in done.stdout
    assert (tmp_path / "bundles" / "shapes" / "bundle.json").is_file()
    found = re.search(r"(\d) of 3 right", done.stdout)
    assert found is not None
    assert int(found[1]) >= 2
