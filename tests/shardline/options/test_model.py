"""Options of a model: channels and labels as they are typed."""

from pathlib import Path

import pytest

from shardline.options.model import parse_channels, parse_size, parse_task_options, read_labels
from shardline.wire.errors import UsageError


def test_channels() -> None:
    assert parse_channels("--mean", "0.5, 0.25,0") == (0.5, 0.25, 0.0)
    assert parse_channels("--mean", "0.13") == (0.13,)


@pytest.mark.parametrize(("text", "size"), [("224", 224), ("16x64", (16, 64)), ("96X320", (96, 320))])
def test_sizes(text: str, size: int | tuple[int, int]) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "x64", "16x", "1x2x3", "-5", "16 x 64", "16x0", "½"])
def test_sizes_that_cannot_be(text: str) -> None:
    with pytest.raises(UsageError, match=f"--size '{text}': write the input's height and width"):
        parse_size(text)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("--mean", "0.5,0.5", "--mean '0.5,0.5' has 2 numbers: write a number for each channel"),
        ("--mean", "a,b,c", "write a number for each channel"),
        ("--mean", "0,0,nan", "the numbers must be finite"),
        ("--std", "0,1,1", "a standard deviation above 0"),
    ],
)
def test_channels_that_cannot_be(name: str, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_channels(name, text)


def test_task_options() -> None:
    texts = ["boxes=cxcywh", "iou=0.5", "top=20", "name=true", "path=a=b"]

    assert parse_task_options(texts) == {"boxes": "cxcywh", "iou": 0.5, "top": 20, "name": "true", "path": "a=b"}


@pytest.mark.parametrize("texts", [["boxes"], ["=1"], ["boxes="], ["iou=1", "iou=0.5"]])
def test_task_options_that_cannot_be(texts: list[str]) -> None:
    with pytest.raises(UsageError, match=r"--option .*: write each option once"):
        parse_task_options(texts)


def test_labels(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("cat\n\n  dog \n", encoding="utf-8")

    assert read_labels(tmp_path / "labels.txt") == ("cat", "dog")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\n", "is empty"), (b"\xff\xfe\x00", "cannot be read"), (b"caf\xe9", "cannot be read"), (None, "cannot be")],
)
def test_labels_that_cannot_be(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "labels.txt").write_bytes(content)

    with pytest.raises(UsageError, match=message):
        read_labels(tmp_path / "labels.txt")
