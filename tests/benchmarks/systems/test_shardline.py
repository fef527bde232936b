"""KServe's router binary, and a chain that cannot start."""

from pathlib import Path
from typing import cast

import pytest

from benchmarks.load import LoadProcess
from benchmarks.pictures import CheckedPictures
from benchmarks.processes import UnavailableError
from benchmarks.systems.shardline import ShardlineChain, kserve_router


def test_a_router_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (tmp_path, tmp_path / "router"):
        monkeypatch.setenv("SHARDLINE_KSERVE_ROUTER", str(path))
        with pytest.raises(UnavailableError, match="build cmd/router of KServe and set SHARDLINE_KSERVE_ROUTER"):
            kserve_router()
    (tmp_path / "router").touch(mode=0o755)
    assert kserve_router() == tmp_path / "router"


def test_a_bundle_that_cannot_be_rendered(tmp_path: Path) -> None:
    chain = ShardlineChain(
        key="it",
        pictures=CheckedPictures(files=(), classes=()),
        client=cast("LoadProcess", None),
        bundle=tmp_path / "none",
    )

    with pytest.raises(UnavailableError, match="shardline render: error: "):
        chain.start(tmp_path)
    assert chain.graph_json() is None
