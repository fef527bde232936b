"""Data sources of a plate evaluation: models by their file, and further passes over crops of large pictures."""

import io
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from PIL import Image
from services.knowing_detector import plate, reply

from shardline.training.evaluation.plates.sources import PlatePrediction, PlateSources, RefiningPlateReader
from shardline.wire.errors import PictureError, UsageError
from shardline.wire.view import View


@dataclass(frozen=True)
class GivenPasses:
    """Finds one small plate, with a low score in the first pass and a high score in all others."""

    name: str = "it"
    sizes: list[tuple[int, int]] = field(default_factory=list)

    def predict(self, picture: bytes, threshold: float) -> PlatePrediction:  # noqa: ARG002
        with Image.open(io.BytesIO(picture)) as opened:
            self.sizes.append(opened.size)
            size = opened.size
        first = len(self.sizes) == 1
        left, top, width = (500.0, 500.0, 100) if first else (size[0] / 4, size[1] / 4, size[0] // 2)
        found = reply(
            plate(width=width), 0.3 if first else 0.9, box=[left, top, left + width, top + width / 4],
            quad=[[left, top], [left + width, top], [left + width, top + width / 4], [left, top + width / 4]],
            board_center_p=[left + width / 2, top + width / 8],
        )  # fmt: skip
        return PlatePrediction(view=View(width=size[0], height=size[1]), outputs=None, plates=[found], unsure=[found])


def png(width: int, height: int) -> bytes:
    with io.BytesIO() as buffer:
        Image.new("RGB", (width, height)).save(buffer, "PNG")
        return buffer.getvalue()


def test_crops_of_a_large_picture_are_predicted_again() -> None:
    source = GivenPasses()
    found = RefiningPlateReader(source=source, tiling="twice").predict(png(2048, 1024), 0.7)

    assert source.sizes[0] == (2048, 1024)
    assert found.passes == len(source.sizes) == 2
    assert [raw["score"] for raw in found.plates] == [0.9]
    assert found.view == View(width=2048, height=1024)


def test_something_else_than_a_picture() -> None:
    with pytest.raises(PictureError, match="not a picture that can be read"):
        RefiningPlateReader(source=GivenPasses(), tiling="twice").predict(b"text", 0.7)


def test_a_model_that_is_none(tmp_path: Path) -> None:
    sources = PlateSources(size=None, program="portable", tiling="once")
    (tmp_path / "notes.txt").touch()

    for path in (tmp_path / "notes.txt", tmp_path / "missing.pt2", tmp_path):
        with pytest.raises(UsageError, match=r"is not the folder of a bundle, an exported program \(.pt2\)"):
            sources.open_source(path)


def test_only_further_passes_are_in_the_name() -> None:
    url = "http://localhost:1"

    assert PlateSources(size=None, program="portable", tiling="once").served(url).name == url
    assert PlateSources(size=None, program="portable", tiling="tiles").served(url).name == f"{url}, tiles"
