"""The systems of a run, by the bundles that could be built."""

from pathlib import Path
from typing import cast

import pytest

from benchmarks.load import LoadProcess
from benchmarks.pictures import CheckedPictures
from benchmarks.serving import BenchBundles, floors, servers

PICTURES = CheckedPictures(files=(), classes=())
CLIENT = cast("LoadProcess", None)  # no system is started


@pytest.fixture
def bundles(tmp_path: Path) -> BenchBundles:
    """Whole and in three stages; the one in three stages has compiled shards."""
    folders = {(stages, "fp32"): tmp_path / f"k{stages}" for stages in (1, 3)}
    (folders[3, "fp32"] / "stages" / "0" / "compiled").mkdir(parents=True)
    folders[1, "fp32"].mkdir()
    return BenchBundles(folders=folders, left_out={})


def keys(bundles: BenchBundles, *, quick: bool) -> list[str]:
    return [system.key for system in servers(bundles, PICTURES, CLIENT, print, quick=quick)]


def test_systems_without_a_router_of_kserve(bundles: BenchBundles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHARDLINE_KSERVE_ROUTER", "/nowhere")
    others = ["torchserve-tuned", "torchserve-defaults", "ray-defaults", "ray-threads", "json-chain"]

    assert keys(bundles, quick=False) == [
        "k1-fp32", "k3-fp32-compiled", "k3-fp32-compiled-kserve", "k3-fp32", "k3-fp32-kserve", *others,
    ]  # fmt: skip
    assert keys(bundles, quick=True) == ["k1-fp32", "k3-fp32-compiled", "k3-fp32-compiled-kserve", "k3-fp32", *others]


def test_the_first_model_in_process_decides_which_replies_are_right(bundles: BenchBundles) -> None:
    assert [floor.key for floor in floors(bundles, [], compiled=True)] == ["in-process-eager"]
    (bundles.folder(1) / "stages" / "0" / "compiled").mkdir(parents=True)
    assert [floor.program for floor in floors(bundles, [], compiled=True)] == ["eager", "compiled"]
