"""`shardline build` and `shardline verify`: the bundle that is written, and how it compares with the whole model."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from services.cli import run_command as shardline

from shardline.commands.bundle import summary
from shardline.partition.verify import LocalChain, VerifyReport
from shardline.predictors.picture import pixel_batch
from shardline.storage.bundle_folder import open_bundle
from shardline.tasks.registry import task_reply
from shardline.tasks.request import Request

pytestmark = pytest.mark.slow

SMALL = ("services.small_models:residual", "--size", "32", "--hop", "0.4,3")


def test_build_verify_and_render(tmp_path: Path, photos: Path) -> None:
    bundle = tmp_path / "My_Net"
    built = shardline("build", *SMALL, "--cuts", "one,two", "--out", str(bundle), "--pictures", str(photos))
    verified = shardline("verify", str(bundle), "--images", str(photos), "--json")
    rendered = shardline("render", str(bundle), "--storage", "gs://bucket/models", "--out", str(tmp_path / "out"))
    report = json.loads(verified.stdout)

    assert open_bundle(bundle).name == "my-net"
    assert open_bundle(bundle).digest in built.stdout
    assert (report["pictures"], report["equal"]) == (12, 12)
    assert (report["max_abs_difference"], report["top1_agreement"]) == (0.0, 1.0)
    assert [cut["name"] for cut in report["cuts"]] == ["one", "two", "output"]
    text = Path(rendered.stdout.strip()).read_text()
    assert "gs://bucket/models/stages/2" in text
    assert "shardline render" in text


def test_a_bundle_holds_a_picture_and_what_the_whole_model_replies_to_it(tmp_path: Path, photos: Path) -> None:
    bundle = tmp_path / "net"
    shardline("build", *SMALL, "--stages", "2", "--out", str(bundle), "--pictures", str(photos))
    described = open_bundle(bundle)
    pixels = pixel_batch([(bundle / "golden.png").read_bytes()], described.picture, described.limits)
    with threads(described.threads):
        outputs = LocalChain(bundle).run_stages(pixels)[-1]

    reply = json.loads((bundle / "golden.json").read_text())

    assert {"golden.png", "golden.json"} <= described.files.keys()
    assert reply == {"predictions": task_reply("classify")(Request(outputs=outputs, labels=described.task.labels))}


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def test_labels_mean_and_std_of_one_s_own(tmp_path: Path, photos: Path) -> None:
    (tmp_path / "labels.txt").write_text("".join(f"kind {index}\n" for index in range(10)))
    options = ("--labels", str(tmp_path / "labels.txt"), "--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25")
    shardline("build", *SMALL, *options, "--stages", "1", "--out", str(tmp_path / "net"), "--pictures", str(photos))

    assert open_bundle(tmp_path / "net").task.labels[9] == "kind 9"
    assert shardline("verify", str(tmp_path / "net"), "--images", str(photos)).stdout.startswith("split == whole")


def test_verify_without_json_says_split_equals_whole(small_bundle: Path, photos: Path) -> None:
    text = shardline("verify", str(small_bundle), "--images", str(photos)).stdout

    assert text.startswith("split == whole: 12 of 12 pictures")
    assert "max abs difference 0," in text


def test_an_altered_bundle_is_refused(small_bundle: Path, tmp_path: Path, photos: Path) -> None:
    shutil.copytree(small_bundle, tmp_path / "bundle")
    (tmp_path / "bundle" / "stages" / "1" / "shard.pt2").write_bytes(b"PK")

    result = shardline("verify", str(tmp_path / "bundle"), "--images", str(photos), code=1)

    assert "stages/1/shard.pt2 has 2 bytes" in result.stderr


def test_verify_warns_where_all_pictures_get_the_same_class() -> None:
    report = VerifyReport(bundle="b", stages=1, threads=1, pictures=3, equal=3, top1_agreement=1.0, top1_classes=1)

    assert "warning: all 3 pictures get the same class" in summary(report)
    report.pictures = 1
    assert "warning" not in summary(report)
