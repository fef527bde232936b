"""Bundles in bf16 and fp16: rounded between stages, compared with the whole in fp32."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from shardline.commands.bundle import summary
from shardline.partition.build import BuildOptions, build
from shardline.partition.capture import run_whole, whole_module
from shardline.partition.models import load_model
from shardline.partition.prepare import in_precision
from shardline.partition.runtime import Golden, load_shard
from shardline.partition.verify import LocalChain, random_batches, verify
from shardline.storage.bundle import Tolerance, stage_folder
from shardline.storage.bundle_folder import open_bundle
from shardline.wire.errors import FrameError
from shardline.wire.frame import Frame, decode, encode


def pictures(count: int) -> list[np.ndarray]:
    generator = np.random.default_rng(5)
    return [generator.integers(0, 256, (1, 3, 32, 32), dtype=np.uint8) for _ in range(count)]


def test_every_frame_between_two_stages_is_bf16(rounded_bundle: Path, small_bundle: Path) -> None:
    rounded, exact = open_bundle(rounded_bundle), open_bundle(small_bundle)

    assert rounded.precision == "bf16"
    assert {spec.dtype for stage in rounded.stages[:-1] for spec in stage.outputs} == {"BF16"}
    assert [spec.dtype for spec in rounded.stages[-1].outputs] == ["F32"]
    assert [stage.output_bytes * 2 for stage in rounded.stages[:-1]] == [
        stage.output_bytes for stage in exact.stages[:-1]
    ]
    assert sum(stage.weight_bytes for stage in rounded.stages) < 0.6 * sum(stage.weight_bytes for stage in exact.stages)


def test_frames_carry_it_from_stage_to_stage_to_the_bit(rounded_bundle: Path) -> None:
    """As the shards run on arrays of their own, so they run on views of a body."""
    bundle = open_bundle(rounded_bundle)
    shards = [load_shard(rounded_bundle / stage_folder(stage.index)) for stage in bundle.stages]
    direct = travelled = {"pixels": np.concatenate(pictures(3))}

    for shard in shards:
        body = encode(Frame(tensors=travelled, bundle=bundle.digest, stage=shard.stage.index))
        direct, travelled = shard.run(direct), shard.run(dict(decode(body).tensors))

        assert all(direct[name].tobytes() == travelled[name].tobytes() for name in direct)
    assert direct["output"].dtype == np.float32


def test_the_chain_is_the_rounded_model_to_the_bit(rounded_bundle: Path) -> None:
    model = in_precision(load_model("services.small_models:residual", size=32), "bf16")
    (pixels,) = pictures(1)

    (expected,) = run_whole(whole_module(model), torch.from_numpy(pixels))

    assert np.array_equal(LocalChain(rounded_bundle).run_stages(pixels)[-1]["output"], expected.numpy())


def test_joined_frames_and_nan(rounded_bundle: Path) -> None:
    folder = rounded_bundle / stage_folder(1)
    shard, golden = load_shard(folder), Golden.load(folder)

    assert shard.can_join(golden)
    broken = {name: value.copy() for name, value in golden.inputs.items()}
    next(iter(broken.values())).flat[0] = np.nan
    with pytest.raises(FrameError, match="holds NaN"):
        shard.check(broken)


def test_verify_compares_with_the_whole_in_fp32(rounded_bundle: Path) -> None:
    noise = random_batches(open_bundle(rounded_bundle).stages[0].inputs[0], 2)
    report = verify(rounded_bundle, pictures(3), noise)

    assert report.passed
    assert not report.all_equal  # rounding shows
    assert 0 < report.max_relative_error < 0.05
    assert [cut.name for cut in report.cuts] == ["output"]
    assert report.tolerance == open_bundle(rounded_bundle).portable_tolerance
    assert summary(report).startswith("bf16 split ~= whole: max relative error ")


def test_verify_says_when_the_tolerance_is_not_kept(rounded_bundle: Path, reseal: Callable[..., Path]) -> None:
    strict = Tolerance(max_relative_error=1e-6, top1_agreement=1.0)
    report = verify(reseal(rounded_bundle, portable_tolerance=strict), pictures(1))

    assert not report.passed
    assert summary(report).startswith("bf16 split != whole")


def test_fp16(tmp_path: Path) -> None:
    model = load_model("services.small_models:residual", size=32)
    options = BuildOptions(cuts=("two",), stages=1, precision="fp16")
    bundle, _ = build(model, "half", np.concatenate(pictures(2)), options, tmp_path / "half")

    assert {spec.dtype for spec in bundle.stages[0].outputs} == {"F16"}
    assert verify(tmp_path / "half", pictures(2)).passed
