"""`shardline index`: what it prints, and a bundle that has no index."""

from pathlib import Path

import numpy as np
import pytest
from services.cli import run_command
from services.tiny_digits import write_mnist

from shardline.partition.build import BuildOptions, build
from shardline.training.models import load_by_name


@pytest.fixture(scope="module")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mnist(tmp_path_factory.mktemp("data") / "mnist", train=40, test=12)


def test_an_index_is_built_and_extended(mnist: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 28, 28), np.uint8)
    build(load_by_name("embedding", "random:0", None), "digits", pixels, BuildOptions(stages=1), tmp_path / "digits")
    bundle = str(tmp_path / "digits")

    built = run_command("index", "build", "--bundle", bundle, "--data", str(mnist))
    added = run_command("index", "add", "--bundle", bundle, "--data", str(mnist), "--split", "test")

    assert "40 pictures of " in built.stderr
    assert "vectors of 64 numbers: flat, cosine" in built.stderr
    assert "52 pictures of " in added.stderr
    assert built.stdout.startswith(f"{bundle}: ")
    assert built.stdout != added.stdout


def test_a_folder_without_pictures_is_one_line(tmp_path: Path) -> None:
    done = run_command("index", "build", "--bundle", str(tmp_path), "--data", str(tmp_path), code=1)

    assert done.stderr.count("error:") == 1
