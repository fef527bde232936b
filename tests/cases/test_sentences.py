"""Failures that each have a sentence of their own, and inputs that other systems wrote."""

import codecs
from pathlib import Path

import pytest
from cases.pictures import good, write_broken
from services.cli import run_command as shardline

from shardline.options.model import read_labels
from shardline.storage.bundle import PictureSpec, parse_bundle
from shardline.storage.gcs import open_gcs
from shardline.storage.store import DEFAULT_ACCESS
from shardline.training.folder import check_pictures, read_split, training_and_validation
from shardline.wire.errors import BundleError, DatasetError, RequestError, StorageError
from shardline.wire.limits import Limits
from shardline.wire.v1 import parse_request


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"\x1f\x8b\x08\0abc", "compressed by gzip"),
        (b"\x28\xb5\x2f\xfd\0abc", "compressed by zstd"),
        (b"--x\r\nContent-Disposition: form-data; name=image\r\n\r\nabc", "a form (multipart/form-data)"),
        (b"image=abc%20def", "a form (application/x-www-form-urlencoded)"),
        (b"\0\0\0\x18ftypheic0000", "a HEIC or AVIF picture"),
    ],
)
def test_what_a_body_is_wrapped_in_is_named(body: bytes, named: str) -> None:
    with pytest.raises(RequestError, match="which is not taken") as caught:
        parse_request(body)

    assert named in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        codecs.BOM_UTF8 + "kätze\r\nhund\r\n".encode(),
        "kätze\r\nhund".encode("utf-16"),
        "kätze\nhund\n".encode(),
    ],
)
def test_labels_as_windows_writes_them(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes(data)

    assert read_labels(tmp_path / "labels.txt") == ("kätze", "hund")


def test_a_bundle_with_windows_line_endings(small_bundle: Path) -> None:
    data = (small_bundle / "bundle.json").read_bytes()

    with pytest.raises(BundleError, match="has Windows' line endings"):
        parse_bundle(data.replace(b"\n", b"\r\n"))


def test_an_emulator_without_a_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "127.0.0.1:4443")

    with pytest.raises(StorageError, match="is no URL: set it to http"):
        open_gcs("gs://models", DEFAULT_ACCESS)


def write_classes(folder: Path) -> None:
    for label in ("cat", "dog"):
        (folder / label).mkdir(parents=True)
        for number in range(4):
            (folder / label / f"{number}.png").write_bytes(good(seed=number))


def test_all_broken_pictures_are_named_at_once(tmp_path: Path) -> None:
    write_classes(tmp_path)
    names = write_broken(tmp_path / "cat")
    files = read_split(tmp_path.parent, tmp_path.name).files

    with pytest.raises(DatasetError, match="5 of 13 pictures cannot be opened") as caught:
        check_pictures(files, PictureSpec(height=32, width=32), Limits())

    assert all(name in str(caught.value) for name in names)


def test_hidden_files_and_folders_are_no_data(tmp_path: Path) -> None:
    write_classes(tmp_path)
    for hidden in (".ipynb_checkpoints", "__MACOSX", "@eaDir"):
        (tmp_path / hidden).mkdir()
        (tmp_path / hidden / "0.png").write_bytes(good())
        (tmp_path / "cat" / hidden).mkdir()
        (tmp_path / "cat" / hidden / "0.png").write_bytes(good())
    (tmp_path / "cat" / "._0.png").write_bytes(b"")

    training, validation = training_and_validation(tmp_path, 0.25, 0)

    assert training.labels == ("cat", "dog")
    assert len(training.files) + len(validation.files) == 8


def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    write_classes(tmp_path)
    Path(str(tmp_path / "cat" / "caf") + "\udce9.png").write_bytes(good())

    split = read_split(tmp_path.parent, tmp_path.name)

    assert len(split.digest()) == 64
    assert len(split.files) == 9


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "camera.png").symlink_to("/dev/full")

    result = shardline("samples", str(tmp_path), code=1)

    assert "the disk is full" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_options_that_a_bundle_cannot_follow(small_bundle: Path) -> None:
    result = shardline("plan", str(small_bundle), "--stages", "4", "--limit", "2Mi", code=1)

    assert "is a bundle, whose plan is made already: --stages, --limit cannot change it" in result.stderr


def test_a_bundle_of_another_model_is_not_replaced(small_bundle: Path) -> None:
    result = shardline("build", "cases.nets:Base", "--size", "32", "--hop", "0.4,3", "--out", str(small_bundle), code=1)

    assert "holds the bundle of another model, services.small_models:residual" in result.stderr
    assert "--replace" in result.stderr
