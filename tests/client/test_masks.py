"""Segmentations: read, decoded, printed, laid over the picture, and saved as class indexes."""

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shardline.client.canvas import Canvas
from shardline.client.masks import mark_segmentation, mask_image, read_segmentation, share_lines
from shardline.client.terminal import TerminalStyle
from shardline.wire.errors import PredictorError
from shardline.wire.rle import encode_classes

MASK = np.array([[0, 0, 15], [0, 15, 15]], np.uint8)
CLASSES = [{"label": "__background__", "index": 0, "share": 0.5}, {"label": "person", "index": 15, "share": 0.5}]


def png(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def reported(mask: Any = MASK, **changes: Any) -> dict[str, Any]:
    encoded = {"format": "png", "b64": png(Image.fromarray(mask))}
    return {"mask": encoded, "size": list(mask.shape), "classes": CLASSES, **changes}


def read(prediction: object) -> Any:
    found = read_segmentation(prediction)
    assert found is not None
    return found


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_masks_are_decoded(dtype: Any) -> None:
    mask = MASK.astype(dtype) * (1 if dtype is np.uint8 else 40)

    decoded = read(reported(mask)).decode()
    assert decoded.dtype == dtype
    assert decoded.tolist() == mask.tolist()


@pytest.mark.parametrize(
    "prediction",
    [
        None,
        {"boxes": []},
        reported(mask=MASK) | {"mask": None},
        reported() | {"size": [2]},
        reported() | {"size": [2, 0]},
        reported() | {"classes": [{"label": 1, "index": 0, "share": 0.5}]},
        reported() | {"classes": [3]},
    ],
)
def test_other_replies_are_no_masks(prediction: object) -> None:
    assert read_segmentation(prediction) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask": {"format": "png", "b64": "?"}}, "is not one of 3 x 2 pixels"),
        ({"mask": {"format": "png", "b64": base64.b64encode(b"GIF89a").decode()}}, "is not one of 3 x 2 pixels"),
        ({"size": [3, 2]}, r"is not one of 2 x 3 pixels \(it is 3 x 2 of mode L\)"),
        ({"mask": {"format": "png", "b64": png(Image.new("RGB", (3, 2)))}}, "mode RGB"),
        ({"mask": {"format": "rle", "size": [2, 2], "counts": {}}}, r"its size is \[2, 2\]"),
        ({"mask": {"format": "rle", "size": [2, 3], "counts": {"0": "~~"}}}, "is not one of 3 x 2 pixels"),
        ({"mask": {"format": "rle", "size": [2, 3], "counts": 7}}, "is not one of 3 x 2 pixels"),
        ({"mask": {"format": "svg"}}, "has the format 'svg'; known: png, rle"),
    ],
)
def test_a_mask_that_cannot_be_decoded(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PredictorError, match=message):
        read(reported() | changes).decode()


@pytest.mark.parametrize("index", [15, 600])
def test_masks_may_be_run_lengths(index: int) -> None:
    """COCO's; pixels of no class have the highest value."""
    mask = MASK.astype(np.uint16)
    mask[mask == 15] = index
    counts = {str(name): text for name, text in encode_classes(mask).items() if name}

    decoded = read(reported() | {"mask": {"format": "rle", "size": [2, 3], "counts": counts}}).decode()
    mask[mask == 0] = 255 if index < 255 else 65_535
    assert decoded.tolist() == mask.tolist()


def test_shares_are_a_table() -> None:
    assert share_lines(read(reported()), TerminalStyle()) == [
        f"  __background__   50.00%  {'█' * 12}",
        f"  person           50.00%  {'█' * 12}",
    ]
    lines = share_lines(read(reported()), TerminalStyle(colour=True))
    assert lines[0].startswith("    __background__")
    assert "■\x1b[0m person" in lines[1]
    assert share_lines(read(reported(classes=[])), TerminalStyle()) == ["  no class"]


def test_the_overlay_leaves_the_background_clear() -> None:
    """The mask may be smaller than the picture."""
    canvas = Canvas(Image.new("RGB", (300, 200), "white"))
    mark_segmentation(canvas, read(reported()))

    assert canvas.image.getpixel((50, 50)) == (255, 255, 255)
    assert canvas.image.getpixel((270, 150)) != (255, 255, 255)
    assert canvas.image.height > 200


def test_a_saved_mask_holds_the_indexes() -> None:
    file = io.BytesIO()
    mask_image(read(reported())).save(file, "PNG")
    with Image.open(file) as saved:
        assert np.asarray(saved).tolist() == MASK.tolist()
        assert saved.convert("RGB").getpixel((0, 0)) == (0, 0, 0)
        assert saved.convert("RGB").getpixel((2, 1)) == read(reported()).colours[15]
    many = mask_image(read(reported(MASK.astype(np.uint16) * 40)))
    assert np.asarray(many).max() == 600
