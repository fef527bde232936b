"""Names and commands of the benchmarks' bundles, and when one is built again."""

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from benchmarks.bundles import BundleSpec, ensure, shardline
from benchmarks.processes import UnavailableError


def test_a_name_has_all_options_that_differ() -> None:
    spec = BundleSpec(stages=3, precision="bf16", compiled=True, size=160)

    assert spec.name == "resnet50-k3-bf16-160px-compiled"
    assert {"--precision=bf16", "--compile=cpu", "--size=160", "--stages=3"} <= set(spec.command(Path("x")))
    assert BundleSpec(stages=1).name == "resnet50-k1-fp32"
    assert BundleSpec(stages=2, cuts=("layer3.0",)).command(Path("x"))[-1] == "--cuts=layer3.0"
    assert BundleSpec(stages=1, model="plates", batch=1).command(Path("x"))[1] == "plates"


def test_a_bundle_of_another_torch_is_built_again(tmp_path: Path) -> None:
    """Here it cannot be built."""
    spec = BundleSpec(stages=2, model="no_such_model")
    (tmp_path / spec.name).mkdir()
    wanted = {"command": spec.command(tmp_path / spec.name), "torch": version("torch") + "x"}
    (tmp_path / f"{spec.name}.json").write_text(json.dumps(wanted))
    messages: list[str] = []

    with pytest.raises(UnavailableError, match="shardline build: error: "):
        ensure(spec, messages.append, tmp_path)
    assert messages == ["building no_such_model-k2-fp32"]
    assert not (tmp_path / spec.name).exists()


def test_a_subcommand_prints_its_result() -> None:
    assert shardline("--version").startswith("shardline ")
