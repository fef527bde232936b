"""TorchServe on a machine without Java."""

from pathlib import Path
from typing import cast

import pytest

from benchmarks.load import LoadProcess
from benchmarks.pictures import CheckedPictures
from benchmarks.processes import UnavailableError
from benchmarks.systems.torchserve import TorchServe


def test_java_is_required(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    server = TorchServe(
        key="torchserve-tuned",
        pictures=CheckedPictures(files=(), classes=()),
        client=cast("LoadProcess", None),
        bundle=tmp_path,
        tuned=True,
        say=print,
    )

    with pytest.raises(UnavailableError, match="TorchServe needs Java 17"):
        server.start(tmp_path)
