"""Pictures and their true masks in two folders, and one line for each that does not fit."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from services.colour_segmenter import draw, encoded

from shardline.training.evaluation.segmenter.pictures import open_segmented
from shardline.wire.errors import DatasetError


def write(folder: Path, *, orientation: int = 1) -> tuple[Path, Path, np.ndarray]:
    """Two pictures, one of them in a folder of its own, and their masks: palette, and grey."""
    data, masks = folder / "data", folder / "masks"
    image, classes = draw(40, 30)
    for name in ("a", "more/b"):
        for parent in (data, masks):
            (parent / name).parent.mkdir(parents=True, exist_ok=True)
        (data / f"{name}.png").write_bytes(encoded(image, orientation))
        mask = Image.fromarray(classes)
        if name == "a":
            mask.putpalette([*range(256)] * 3)
        mask.save(masks / f"{name}.png")
    return data, masks, classes


@pytest.mark.parametrize("orientation", [1, 6])
def test_palettes_and_grey_are_class_indexes_of_the_upright_picture(tmp_path: Path, orientation: int) -> None:
    data, masks, classes = write(tmp_path, orientation=orientation)
    found = list(open_segmented(data, masks))

    assert [picture.name for picture in found] == ["a.png", "more/b.png"]
    assert all(np.array_equal(picture.classes(), classes) for picture in found)
    assert len(open_segmented(data, masks, 1)) == 1


def test_a_picture_without_a_mask(tmp_path: Path) -> None:
    data, masks, _ = write(tmp_path)
    (masks / "more" / "b.png").unlink()

    with pytest.raises(DatasetError, match=r"1 pictures have no mask, the first is .*b\.png: add .*masks/more/b\.png"):
        open_segmented(data, masks)


def test_folders_that_are_none(tmp_path: Path) -> None:
    data, masks, _ = write(tmp_path)
    (tmp_path / "empty").mkdir()

    with pytest.raises(DatasetError, match="nothing is not a folder"):
        open_segmented(data, tmp_path / "nothing")
    with pytest.raises(DatasetError, match="no pictures in"):
        open_segmented(tmp_path / "empty", masks)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (Image.new("RGB", (40, 30)), "has the mode RGB; allowed: a palette or grey"),
        (Image.new("L", (30, 40)), "has 30 x 40 pixels, and the upright picture a.png 40 x 30"),
        (Image.fromarray(np.full((30, 40), 1000, np.uint16)), "has the class 1000; allowed are 0 to 999"),
    ],
)
def test_masks_that_do_not_fit(tmp_path: Path, mask: Image.Image, message: str) -> None:
    data, masks, _ = write(tmp_path)
    mask.save(masks / "a.png")

    with pytest.raises(DatasetError, match=message):
        next(iter(open_segmented(data, masks))).classes()


def test_a_mask_that_cannot_be_read(tmp_path: Path) -> None:
    data, masks, _ = write(tmp_path)
    (masks / "a.png").write_bytes(b"no picture")

    with pytest.raises(DatasetError, match=r"a\.png cannot be read"):
        next(iter(open_segmented(data, masks))).classes()
