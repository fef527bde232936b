"""A data set on disk: pictures, and what is in them as COCO's `annotations.json`, written last and all at once.

COCO's own fields are `bbox` [left, top, width, height] in pixels, cut to the picture, `area`, and `iscrowd`, 1 where a
thing is so far covered or cut off that it cannot be told what it is: evaluators neither ask for such a box nor count it
as wrong. Beside them each annotation has `text`, `quad` (its four corners from the text's top left on, clockwise, not
cut off), `angle` (of the plate's middle line, degrees, clockwise), `visible` (0 to 1) and `plate` (its number in the
picture); each image its `plates` with type, text, font, width, angle, wear and contrast, and what the camera did.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shardline.tasks.plates.text import CLASSES
from shardline.training.plates.marks import Mark, Plate, area, clip
from shardline.training.plates.picture import Picture
from shardline.wire.errors import ModelError

Format = Literal["png", "jpg"]
FORMATS: tuple[Format, ...] = ("png", "jpg")
ANNOTATIONS = "annotations.json"

_JPEG_QUALITY = 95


def write_dataset(
    folder: Path,
    pictures: Iterable[tuple[int, Picture]],
    info: dict[str, Any],
    file_format: Format = "png",
    on_picture: Callable[[], None] = lambda: None,
) -> Path:
    """Write numbered pictures and `annotations.json` into an empty folder; the path of that file.

    It is written when all pictures are: a folder without it holds a part of a data set.

    Raises:
        ModelError: the folder holds something, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ModelError(f"{folder} is not empty: name a new folder, so that data sets do not mix")
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for index, picture in pictures:
            name = f"{index:06d}.{file_format}"
            _save(folder / name, picture.pixels)
            images.append(_image(index, name, picture))
            annotations += _annotations(index, picture, len(annotations))
            on_picture()
        return _write(folder / ANNOTATIONS, _document(info, images, annotations))
    except OSError as exc:
        raise ModelError(f"{folder} cannot be written: {exc.strerror or exc}") from exc


def _document(
    info: dict[str, Any], images: list[dict[str, Any]], annotations: list[dict[str, Any]]
) -> dict[str, list[dict[str, Any]] | dict[str, Any]]:
    categories = [
        {"id": number, "name": name, "supercategory": "character" if len(name) == 1 else "plate"}
        for number, name in enumerate(CLASSES, 1)
    ]
    return {"info": info, "images": images, "annotations": annotations, "categories": categories}


def _image(index: int, name: str, picture: Picture) -> dict[str, Any]:
    height, width, _ = picture.pixels.shape
    return {
        "id": index,
        "file_name": name,
        "width": width,
        "height": height,
        "background": picture.background,
        "exposure": {key: _rounded(value) for key, value in asdict(picture.exposure).items()},
        "plates": [_plate(plate) for plate in picture.plates],
    }


def _plate(plate: Plate) -> dict[str, Any]:
    return {
        "type": plate.kind,
        "text": str(plate.text),
        "readable": plate.readable,
        "font": plate.font,
        "width": _rounded(plate.outline.width_px),
        "height": _rounded(plate.outline.height_px),
        "angle": _rounded(plate.outline.angle_deg),
        "wear": _rounded(plate.level),
        "contrast": _rounded(plate.contrast),
    }


def _annotations(index: int, picture: Picture, before: int) -> list[dict[str, Any]]:
    height, width, _ = picture.pixels.shape
    marks = [(number, plate, mark) for number, plate in enumerate(picture.plates) for mark in plate.marks]
    inside = [each for each in marks if area(clip(each[2].box, (width, height)))]
    return [
        _annotation(before + count, index, number, plate, mark, (width, height))
        for count, (number, plate, mark) in enumerate(inside, 1)
    ]


def _annotation(
    number: int, image: int, plate_number: int, plate: Plate, mark: Mark, size: tuple[int, int]
) -> dict[str, Any]:
    left, top, right, bottom = clip(mark.box, size)
    return {
        "id": number,
        "image_id": image,
        "category_id": CLASSES.index(mark.label) + 1,
        "bbox": [_rounded(each) for each in (left, top, right - left, bottom - top)],
        "area": _rounded(area((left, top, right, bottom))),
        "iscrowd": int(not mark.recognisable),
        "plate": plate_number,
        "text": mark.text,
        "quad": [[_rounded(x), _rounded(y)] for x, y in mark.quad.tolist()],
        "angle": _rounded(plate.outline.angle_deg),
        "visible": _rounded(mark.visible),
    }


def _rounded(value: Any) -> Any:
    """A hundredth of a pixel is finer than anything that is drawn."""
    return round(value, 2) if isinstance(value, float) else value


def _save(path: Path, pixels: NDArray[np.uint8]) -> None:
    image = Image.fromarray(pixels)
    if path.suffix == ".jpg":
        image.save(path, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    else:
        image.save(path, "PNG", compress_level=1)


def _write(path: Path, document: dict[str, Any]) -> Path:
    draft = path.with_suffix(".partial")
    draft.write_text(json.dumps(document, separators=(",", ":")), encoding="utf-8")
    return draft.replace(path)
