"""`verify` says equal where all is equal, and names the cut where it is not."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from shardline.partition.archive import load_program
from shardline.partition.build import BuildOptions, build
from shardline.partition.capture import random_pixels, run_whole, whole_module
from shardline.partition.models import load_model
from shardline.partition.verify import LocalChain, random_batches, verify
from shardline.storage.bundle import SHARD_FILE, WHOLE_FILE, stage_folder
from shardline.storage.bundle_folder import open_bundle
from shardline.wire.errors import BundleError


def batches(count: int, size: int = 32) -> list[np.ndarray]:
    generator = np.random.default_rng(7)
    return [generator.integers(0, 256, (1, 3, size, size), dtype=np.uint8) for _ in range(count)]


def built(name: str, folder: Path, cuts: Sequence[str] = (), size: int = 16, task: str = "classify") -> Path:
    model = replace(load_model(f"services.small_models:{name}", size=size), task=task)
    pictures = random_pixels(model, 2).numpy()
    build(model, "small", pictures, BuildOptions(cuts=tuple(cuts), stages=1), folder)
    return folder


def nudged(file: str, weight: str) -> Callable[[Path], None]:
    """One weight a ten-thousandth larger: near enough for the golden output, far from equal."""

    def change(draft: Path) -> None:
        program = load_program(draft / file)
        with torch.no_grad():
            program.state_dict[weight].mul_(1.0001)
        torch.export.save(program, draft / file)

    return change


def test_a_sound_bundle_is_equal_everywhere(small_bundle: Path) -> None:
    noise = random_batches(open_bundle(small_bundle).stages[0].inputs[0], 3, batch=4)
    report = verify(small_bundle, batches(5), noise)

    assert report.all_equal
    assert (report.pictures, report.equal) == (5, 5)
    assert (report.random_tensors, report.random_equal) == (3, 3)
    assert (report.max_abs_difference, report.top1_agreement) == (0.0, 1.0)
    assert [(cut.name, cut.equal, cut.max_abs_difference) for cut in report.cuts] == [
        ("one", 8, 0.0),
        ("two", 8, 0.0),
        ("output", 8, 0.0),
    ]
    assert (report.bundle, report.stages) == (open_bundle(small_bundle).digest, 3)
    assert report.threads == torch.get_num_threads()


def test_the_report_has_the_keys_that_others_script_against(small_bundle: Path) -> None:
    found = verify(small_bundle, batches(2)).to_dict()

    assert list(json.loads(json.dumps(found))) == [
        "bundle",
        "stages",
        "threads",
        "pictures",
        "equal",
        "max_abs_difference",
        "top1_agreement",
        "top1_classes",
        "random_tensors",
        "random_equal",
        "cuts",
        "precision",
        "max_relative_error",
        "tolerance",
        "within",
        "compiled",
        "task",
    ]
    assert list(found["cuts"][0]) == ["name", "equal", "max_abs_difference"]


def test_classes_are_counted(small_bundle: Path) -> None:
    pictures = batches(8)
    chain = LocalChain(small_bundle)
    classes = {int(chain.run_stages(picture)[-1]["output"].argmax()) for picture in pictures}

    assert verify(small_bundle, pictures).top1_classes == len(classes)


def test_an_altered_shard_is_told_from_its_cut_on(small_bundle: Path, reseal: Callable[..., Path]) -> None:
    bundle = reseal(small_bundle, nudged(f"{stage_folder(1)}/{SHARD_FILE}", "model.two.0.weight"))
    noise = random_batches(open_bundle(bundle).stages[0].inputs[0], 2)
    report = verify(bundle, batches(4), noise)

    assert not report.all_equal
    assert (report.pictures, report.equal) == (4, 0)
    assert (report.random_tensors, report.random_equal) == (2, 0)
    assert report.max_abs_difference > 0
    assert [cut.name for cut in report.cuts if cut.equal == 6] == ["one"]
    assert [cut.name for cut in report.cuts if cut.max_abs_difference > 0] == ["two", "output"]
    assert report.max_abs_difference == max(cut.max_abs_difference for cut in report.cuts)
    assert report.top1_agreement == 1.0  # so small a change shows in no class, and yet is found


def test_an_altered_whole_is_told_at_every_cut(small_bundle: Path, reseal: Callable[..., Path]) -> None:
    report = verify(reseal(small_bundle, nudged(WHOLE_FILE, "model.stem.weight")), batches(2))

    assert not report.all_equal
    assert [cut.equal for cut in report.cuts] == [0, 0, 0]


def test_a_difference_in_noise_alone_is_not_equal(small_bundle: Path, reseal: Callable[..., Path]) -> None:
    bundle = reseal(small_bundle, nudged(WHOLE_FILE, "model.stem.weight"))
    report = verify(bundle, [], random_batches(open_bundle(bundle).stages[0].inputs[0], 1))

    assert (report.pictures, report.equal, report.top1_agreement, report.top1_classes) == (0, 0, None, None)
    assert not report.all_equal


def test_a_model_without_classes_has_no_top1(tmp_path: Path) -> None:
    bundle = built("features", tmp_path / "features", ["first"], task="raw")
    report = verify(bundle, batches(2, size=16))

    assert report.all_equal
    assert (report.top1_agreement, report.top1_classes) == (None, None)


def test_outputs_in_containers_are_compared_each(tmp_path: Path) -> None:
    bundle = built("named_outputs", tmp_path / "named", ["conv"])
    names = [spec.name for spec in open_bundle(bundle).stages[-1].outputs]
    model = load_model("services.small_models:named_outputs", size=16)
    expected = run_whole(whole_module(model), random_pixels(model, 1, seed=9))
    found = LocalChain(bundle).run_stages(random_pixels(model, 1, seed=9).numpy())[-1]

    assert names == ["output_0", "output_1", "output_2", "output_3"]
    assert all(np.array_equal(found[name], value.numpy()) for name, value in zip(names, expected, strict=True))
    assert verify(bundle, batches(2, size=16)).all_equal


def test_a_bundle_that_was_tampered_with_is_not_compared(small_bundle: Path, reseal: Callable[..., Path]) -> None:
    bundle = reseal(small_bundle)
    (bundle / WHOLE_FILE).write_bytes((bundle / WHOLE_FILE).read_bytes() + b"x")

    with pytest.raises(BundleError, match=WHOLE_FILE):
        verify(bundle, batches(1))


def test_noise_is_the_same_for_the_same_seed(small_bundle: Path) -> None:
    spec = open_bundle(small_bundle).stages[0].inputs[0]
    first, again, other = (random_batches(spec, 2, batch=3, seed=seed) for seed in (1, 1, 2))

    assert [array.shape for array in first] == [(3, 3, 32, 32)] * 2
    assert not np.array_equal(first[0], first[1])
    assert all(np.array_equal(left, right) for left, right in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
