"""The example that counts right answers, on photographs that are named by their class."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SHARED_IMAGES
from services.processes import ROOT

NAMES = ("n01491361_tiger_shark", "n01530575_brambling")


def counted(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "examples" / "imagenet.py"), *options]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
@pytest.mark.skipif(not SHARED_IMAGES.is_dir(), reason="there are no photographs of ImageNet's classes")
def test_whole_and_chain_answer_alike(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name in NAMES:
        shutil.copy(SHARED_IMAGES / f"{name}.JPEG", tmp_path / "photos")

    done = counted(tmp_path, "photos", "--stages", "2")

    assert "whole: 2 of 2 right, chain: 2 of 2 right, agreement 1, max abs difference 0" in done.stdout, done.stderr


@pytest.mark.slow
def test_photographs_without_a_class_are_refused(tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").touch()

    done = counted(tmp_path, ".")

    assert done.returncode == 1
    assert "cat.jpg is not named by a class" in done.stderr
