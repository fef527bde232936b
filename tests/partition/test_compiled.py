"""A compiled shard is taken where all that it needs is here, else the portable one, and what it gives is as near."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from services.processes import ROOT

from shardline.commands.bundle import summary
from shardline.partition.compiled import Compiled, Machine, select, this_machine
from shardline.partition.device import CPU
from shardline.partition.runtime import Golden, load_shard
from shardline.partition.verify import verify
from shardline.storage.bundle import Package, Stage, TensorSpec, Tolerance, stage_folder
from shardline.storage.bundle_folder import open_bundle
from shardline.wire.errors import BundleError

Reseal = Callable[..., Path]
STAGE = stage_folder(0)
ANY = "compiled/cpu/any.pt2"
SECRET_ZIP = b"PK\x05\x06" + b"\0" * 18

HERE = Machine(
    torch_version="2.14.1",
    system="linux",
    machine="x86_64",
    cpu_features=frozenset({"avx2", "fma3", "f16c"}),
    gpu_architecture=None,
    threads=2,
)
PACKAGE = Package(
    path=ANY,
    target="cpu",
    batch=None,
    torch_version="2.14.1",
    system="linux",
    machine="x86_64",
    cpu_features=("avx2", "f16c", "fma3"),
)


def stage_with(*packages: Package) -> Stage:
    spec = TensorSpec(name="x", dtype="F32", shape=("batch", 2), dim_order=(0, 1))
    return Stage(
        index=0,
        cut=None,
        inputs=(spec,),
        outputs=(spec,),
        model_ms=1,
        weight_bytes=1,
        output_bytes=1,
        compiled=packages,
    )


def pixels(batch: int) -> np.ndarray:
    return np.random.default_rng(batch).integers(0, 256, (batch, 3, 32, 32), dtype=np.uint8)


class TestSelect:
    @pytest.mark.parametrize(
        ("needed", "why_not"),
        [
            ({"torch_version": "2.14.0"}, f"{ANY} needs torch 2.14.0, here is 2.14.1"),
            ({"system": "darwin"}, f"{ANY} needs darwin, here is linux"),
            ({"machine": "aarch64"}, f"{ANY} needs aarch64, here is x86_64"),
            (
                {"cpu_features": ("amx_tile", "avx2", "avx512_f")},
                f"{ANY} needs a CPU with amx_tile, avx512_f, which this one lacks",
            ),
            ({"target": "cuda", "gpu_architecture": "sm_90"}, "the bundle has none for cpu"),
            ({"threads": 4}, f"{ANY} needs 4 threads, here are 2"),
            ({"batch": 1}, f"{ANY} takes one batch only"),
        ],
    )
    def test_one_thing_that_does_not_fit(self, needed: dict[str, Any], why_not: str) -> None:
        chosen = select(stage_with(replace(PACKAGE, **needed)), CPU, HERE)

        assert chosen == ((), why_not)

    def test_a_cpu_that_has_more(self) -> None:
        more = replace(HERE, cpu_features=HERE.cpu_features | {"avx512_f"})

        assert select(stage_with(PACKAGE), CPU, more) == ((PACKAGE,), "")

    def test_the_one_for_any_batch_comes_first_and_misfits_are_left_out(self) -> None:
        eight, one = replace(PACKAGE, batch=8, path="8"), replace(PACKAGE, batch=1, path="1")
        other = replace(PACKAGE, batch=4, path="4", threads=1)

        chosen = select(stage_with(eight, other, one, PACKAGE), CPU, HERE)

        assert chosen == ((PACKAGE, one, eight), "4 needs 1 threads, here are 2")

    def test_a_gpu_architecture(self) -> None:
        package = replace(PACKAGE, target="cuda", gpu_architecture="sm_90")
        device = torch.device("cuda", 0)

        assert select(stage_with(package), device, replace(HERE, gpu_architecture="sm_90")).packages == (package,)
        assert select(stage_with(package), device, replace(HERE, gpu_architecture="sm_80")).why_not == (
            f"{ANY} needs sm_90, here is sm_80"
        )

    def test_this_machine(self) -> None:
        machine = this_machine()

        assert torch.__version__.startswith(machine.torch_version)
        assert machine.system == sys.platform
        assert machine.gpu_architecture is None


def test_each_batch_goes_to_its_own_package_or_to_the_one_for_any() -> None:
    stage = stage_with()
    module = Compiled({None: lambda x: ("any", x), 1: lambda x: ("one", x), 8: lambda x: ("eight", x)}, stage)

    def taken(batch: int) -> object:
        result = module(torch.zeros(batch, 2))
        assert isinstance(result, tuple)
        return result[0]

    assert module.batches == (1, 8)
    assert [taken(batch) for batch in (1, 2, 7, 8, 9)] == ["one", "any", "any", "eight", "any"]


@pytest.mark.slow
class TestBundle:
    def test_says_what_the_package_needs(self, compiled_bundle: Path) -> None:
        bundle = open_bundle(compiled_bundle)
        (package,) = bundle.stages[0].compiled
        here = this_machine()

        assert (package.path, package.target, package.batch) == (ANY, "cpu", None)
        assert (package.torch_version, package.system) == (here.torch_version, here.system)
        assert set(package.cpu_features) <= here.cpu_features
        assert f"{STAGE}/{ANY}" in bundle.files
        assert bundle.portable_tolerance is None
        assert bundle.compiled_tolerance == Tolerance(max_relative_error=1e-4, top1_agreement=1.0)

    @pytest.mark.parametrize("batch", [1, 2, 5])
    def test_gives_what_the_portable_one_gives(self, compiled_bundle: Path, batch: int) -> None:
        compiled, portable = (load_shard(compiled_bundle / STAGE, program=each) for each in ("auto", "portable"))

        assert (compiled.is_compiled, portable.is_compiled) == (True, False)
        found, expected = (shard.run({"pixels": pixels(batch)})["output"] for shard in (compiled, portable))
        assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()

    def test_loads_no_more_than_the_batch_that_is_run(self, compiled_bundle: Path, reseal: Reseal) -> None:
        """Two packages said to be there: the one file twice, once under the name of batch 1."""

        def doubled(folder: Path) -> None:
            shutil.copy(folder / STAGE / ANY, folder / STAGE / "compiled/cpu/batch-1.pt2")

        (stage,) = open_bundle(compiled_bundle).stages
        (package,) = stage.compiled
        one = replace(package, path="compiled/cpu/batch-1.pt2", batch=1)
        bundle = reseal(compiled_bundle, doubled, stages=(replace(stage, compiled=(package, one)),))
        both, alone = load_shard(bundle / STAGE), load_shard(bundle / STAGE, only_batch=1)

        assert np.array_equal(both.run({"pixels": pixels(1)})["output"], alone.run({"pixels": pixels(1)})["output"])
        assert both.run({"pixels": pixels(2)})["output"].shape == (2, 10)
        with pytest.raises(BundleError, match=r"no package was loaded for inputs of \[\[2, 3, 32, 32\]\]"):
            alone.run({"pixels": pixels(2)})

    def test_joins_frames(self, compiled_bundle: Path) -> None:
        shard = load_shard(compiled_bundle / STAGE)

        assert shard.can_join(Golden.load(compiled_bundle / STAGE))

    def test_of_another_machine_runs_the_portable_one(self, compiled_bundle: Path, reseal: Reseal) -> None:
        elsewhere = reseal(compiled_bundle, stages=needing(compiled_bundle, cpu_features=("avx10_2",)))

        assert not load_shard(elsewhere / STAGE).is_compiled
        with pytest.raises(BundleError, match=r"for this machine: .*needs a CPU with avx10_2.*build it with --compile"):
            load_shard(elsewhere / STAGE, program="compiled")

    def test_without_packages_runs_the_portable_one(self, small_bundle: Path) -> None:
        with pytest.raises(BundleError, match="the bundle has none for cpu"):
            load_shard(small_bundle / STAGE, program="compiled")

    def test_starts_without_a_compiler_and_leaves_nothing(self, compiled_bundle: Path, tmp_path: Path) -> None:
        """In a process of its own: what it imported, where it wrote, and the line that it logged."""
        code = (
            "import logging, sys; logging.basicConfig(level=logging.INFO); from pathlib import Path\n"
            "from shardline.partition.runtime import load_shard\n"
            f"shard = load_shard(Path({str(compiled_bundle / STAGE)!r}))\n"
            "print(shard.is_compiled, 'torch._inductor' in sys.modules)"
        )
        environment = {"PATH": "", "TMPDIR": str(tmp_path), "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
        )

        assert done.stdout.split() == ["True", "False"], done.stderr
        assert re.findall(r"partition\.runtime:(.*)", done.stderr) == [f"stage 0 runs {ANY}"]
        assert list(tmp_path.iterdir()) == []

    def test_is_verified_beside_the_portable_one(self, compiled_bundle: Path) -> None:
        report = verify(compiled_bundle, [pixels(1)], [pixels(2)])

        assert report.passed
        assert report.all_equal
        assert report.compiled is not None
        assert report.compiled.within
        assert report.compiled.max_relative_error is not None
        assert 0 < report.compiled.max_relative_error < 1e-4
        assert json.loads(json.dumps(report.to_dict()))["compiled"]["tolerance"]["max_relative_error"] == 1e-4
        assert re.search(r"^split == whole: .*\n.*\ncompiled split ~= whole: max relative error \S+, allowed 0\.0001",
                         summary(report))  # fmt: skip

    def test_portable_alone(self, compiled_bundle: Path) -> None:
        assert verify(compiled_bundle, [pixels(1)], program="portable").compiled is None

    def test_out_of_tolerance(self, compiled_bundle: Path, reseal: Reseal) -> None:
        strict = Tolerance(max_relative_error=0.0, top1_agreement=1.0)
        report = verify(reseal(compiled_bundle, compiled_tolerance=strict), [pixels(1)])

        assert report.all_equal
        assert not report.passed
        assert "compiled split != whole" in summary(report)

    def test_of_another_machine_is_not_verified(self, compiled_bundle: Path, reseal: Reseal) -> None:
        elsewhere = reseal(compiled_bundle, stages=needing(compiled_bundle, torch_version="2.13.0"))
        report = verify(elsewhere, [pixels(1)])

        assert report.passed
        assert f"compiled: not compared, {ANY} needs torch 2.13.0" in summary(report)
        with pytest.raises(BundleError, match="no compiled chain for this machine"):
            verify(elsewhere, [], program="compiled")


def needing(source: Path, **fields: Any) -> tuple[Stage, ...]:
    """The stages of a bundle, each of whose packages needs something else."""
    return tuple(
        replace(stage, compiled=tuple(replace(package, **fields) for package in stage.compiled))
        for stage in open_bundle(source).stages
    )


def rewritten(change: Callable[[dict[str, bytes]], object], **how: Any) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / STAGE / ANY
        with zipfile.ZipFile(path) as archive:
            members = {entry.filename: archive.read(entry) for entry in archive.infolist()}
        change(members)
        with zipfile.ZipFile(path, "w", **how) as archive:
            for name, data in members.items():
                archive.writestr(name, data)

    return apply


def library(members: dict[str, bytes]) -> str:
    return next(name for name in members if name.endswith(".so"))


ATTACKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no archive": (lambda folder: (folder / STAGE / ANY).write_bytes(b"ELF"), "not a package's archive"),
    "an empty archive": (lambda folder: (folder / STAGE / ANY).write_bytes(SECRET_ZIP), "any.pt2"),
    "another member": (
        rewritten(lambda members: members.update({"any/run.py": b""})),
        "'any/run.py', which no package",
    ),
    "a member above": (
        rewritten(lambda members: members.update({"any/data/aotinductor/model/../../x.so": b""})),
        "which no package has",
    ),
    "a program": (rewritten(lambda members: members.update({"any/models/model.json": b"{}"})), "which no package has"),
    "pickled weights": (
        rewritten(lambda members: members.update({"any/data/weights/weight_0": b""})),
        "which no package has",
    ),
    "two libraries": (
        rewritten(lambda members: members.update({"any/data/aotinductor/model/b.so": b""})),
        "has 2 libraries",
    ),
    "no library": (rewritten(lambda members: members.pop(library(members))), "has 0 libraries"),
    "a library that is none": (
        rewritten(lambda members: members.update({library(members): b"ELF"})),
        "cannot be loaded",
    ),
    "compressed": (rewritten(lambda _: None, compression=zipfile.ZIP_DEFLATED), "compressed"),
}


@pytest.mark.slow
class TestHostile:
    @pytest.mark.parametrize("name", ATTACKS)
    def test_package(self, name: str, compiled_bundle: Path, reseal: Reseal) -> None:
        change, message = ATTACKS[name]

        with pytest.raises(BundleError, match=re.escape(message)):
            load_shard(reseal(compiled_bundle, change) / STAGE)

    def test_altered_package(self, compiled_bundle: Path, reseal: Reseal) -> None:
        bundle = reseal(compiled_bundle)
        path = bundle / STAGE / ANY
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)

        with pytest.raises(BundleError, match=f"{STAGE}/{ANY} has sha256"):
            load_shard(bundle / STAGE)
        os.truncate(path, 0)
        with pytest.raises(BundleError, match=f"{STAGE}/{ANY} has 0 bytes"):
            load_shard(bundle / STAGE)

    def test_package_of_another_model(self, compiled_bundle: Path, reseal: Reseal) -> None:
        """Its golden output is another: found before the port opens."""

        def doubled(folder: Path) -> None:
            golden = Golden.load(folder / STAGE)
            Golden(golden.inputs, {name: value * 2 for name, value in golden.outputs.items()}).save(folder / STAGE)

        with pytest.raises(
            BundleError,
            match="stage 0 compiled gives output with a relative error of",
        ):
            load_shard(reseal(compiled_bundle, doubled) / STAGE)
