"""Data sets of drawn pictures on disk: picture files, and COCO's `annotations.json`, which is written last and whole.

COCO's own fields are `bbox` [left, top, width, height] in pixels, cut to the picture, `area`, and `iscrowd`, 1 where an
object is covered or cut off so far that it is not recognisable: evaluators neither expect such a box nor count it as
wrong. In addition each annotation has `text`, `quad` (its four corners, clockwise from the text's top left, not cut
off), `angle` (of the plate's middle line, in degrees, clockwise), `visible` (0 to 1) and `plate` (the plate's number in
the picture); each image has its `plates` with type, text, font, width, angle, wear and contrast, and the camera's
`exposure`.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shardline.tasks.plates.grammar import PlateGrammar, built_in
from shardline.tasks.plates.text import parse_text
from shardline.training.folder import find_photographs
from shardline.training.plates.annotations import ANNOTATIONS, Annotation, DrawnPicture, DrawnPlate
from shardline.training.plates.backgrounds import Backgrounds
from shardline.training.plates.fonts import Side, families
from shardline.training.plates.geometry import area, clip
from shardline.training.plates.picture import PlateStream
from shardline.training.plates.scene import Scene
from shardline.training.prefetch import prefetch
from shardline.training.samples import sample_files
from shardline.wire.errors import FileError, UsageError

Format = Literal["png", "jpg"]

_JPEG_QUALITY = 95


def draw_dataset(
    folder: Path, *, count: int, seed: int, start: int, background: Path | None, fonts: Side,
    kind: str, text: str | None, grammar: PlateGrammar, file_format: Format, workers: int,
    scene: dict[str, Any], on_picture: Callable[[], None] = lambda: None,
) -> Path:  # fmt: skip
    """Draw pictures `start` to `start + count` of a seed into an empty folder; return the path of annotations.json.

    Args:
        background: a folder of photographs to draw onto; None: those of scikit-image.
        kind: the name of a type of plates, or "any".
        text: the text of every plate; None: a random one for each.
        grammar: of the plates.
        workers: processes that draw; the pictures are the same for any number.
        scene: other fields of `Scene`.

    Raises:
        UsageError: a value that no picture can have.
        DatasetError, MissingPackageError: photographs or fonts are missing.
        FileError: the folder cannot be written.
    """
    stream = PlateStream(
        seed=seed,
        scene=Scene(
            grammar=grammar,
            kinds=() if kind == "any" else (kind,),
            text=None if text is None else parse_text(text, grammar),
            **scene,
        ),
        fonts=families(fonts),
        backgrounds=Backgrounds(files=tuple(sample_files() if background is None else find_photographs(background))),
    )
    info = {"description": "license plates, drawn", "seed": seed, "start": start, "fonts": fonts}
    numbers = range(start, start + count)
    with prefetch(stream.draw, start, start + count, workers if workers > 1 else 0) as drawn:
        return write_dataset(folder, zip(numbers, drawn, strict=True), info, file_format, on_picture, grammar=grammar)


def write_dataset(
    folder: Path,
    pictures: Iterable[tuple[int, DrawnPicture]],
    info: dict[str, Any],
    file_format: Format = "png",
    on_picture: Callable[[], None] = lambda: None,
    *,
    grammar: PlateGrammar | None = None,
) -> Path:
    """Write numbered pictures and `annotations.json` into an empty folder; return the path of that file.

    It is written when all pictures are: a folder without it holds an incomplete data set.

    Raises:
        UsageError: the folder is not empty.
        FileError: it cannot be written.
    """
    classes = (grammar or built_in()).classes
    if grammar is not None and not grammar.is_built_in:
        info = {**info, "grammar": grammar.source}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageError(f"{folder} is not empty: name a new folder, so that data sets do not mix")
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for index, picture in pictures:
            name = f"{index:06d}.{file_format}"
            _save(folder / name, picture.pixels)
            images.append(_image(index, name, picture))
            annotations += _annotations(index, picture, len(annotations), classes)
            on_picture()
        return _write(folder / ANNOTATIONS, _document(info, images, annotations, classes))
    except OSError as exc:
        raise FileError(f"{folder} cannot be written: {exc.strerror or exc}") from exc


def _document(
    info: dict[str, Any],
    images: list[dict[str, Any]],
    annotations: list[dict[str, Any]],
    classes: tuple[str, ...],
) -> dict[str, list[dict[str, Any]] | dict[str, Any]]:
    categories = [
        {"id": number, "name": name, "supercategory": "character" if len(name) == 1 else "plate"}
        for number, name in enumerate(classes, 1)
    ]
    return {"info": info, "images": images, "annotations": annotations, "categories": categories}


def _image(index: int, name: str, picture: DrawnPicture) -> dict[str, Any]:
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


def _plate(plate: DrawnPlate) -> dict[str, Any]:
    return {
        "type": plate.kind,
        "text": str(plate.text),
        "readable": plate.readable,
        "readable_groups": list(plate.readable_groups),
        "font": plate.font,
        "width": _rounded(plate.outline.width_px),
        "height": _rounded(plate.outline.height_px),
        "angle": _rounded(plate.outline.angle_deg),
        "wear": _rounded(plate.level),
        "contrast": _rounded(plate.contrast),
    }


def _annotations(index: int, picture: DrawnPicture, before: int, classes: tuple[str, ...]) -> list[dict[str, Any]]:
    height, width, _ = picture.pixels.shape
    inside = [
        (number, plate, annotation)
        for number, plate in enumerate(picture.plates)
        for annotation in plate.annotations
        if area(clip(annotation.box, (width, height)))
    ]
    return [
        _annotation(before + count, index, number, plate, annotation, (width, height), classes)
        for count, (number, plate, annotation) in enumerate(inside, 1)
    ]


def _annotation(
    number: int,
    image: int,
    plate_number: int,
    plate: DrawnPlate,
    annotation: Annotation,
    size: tuple[int, int],
    classes: tuple[str, ...],
) -> dict[str, Any]:
    left, top, right, bottom = clip(annotation.box, size)
    return {
        "id": number,
        "image_id": image,
        "category_id": classes.index(annotation.label) + 1,
        "bbox": [_rounded(value) for value in (left, top, right - left, bottom - top)],
        "area": _rounded(area((left, top, right, bottom))),
        "iscrowd": int(not annotation.recognisable),
        "plate": plate_number,
        "text": annotation.text,
        "quad": [[_rounded(x), _rounded(y)] for x, y in annotation.quad.tolist()],
        "angle": _rounded(plate.outline.angle_deg),
        "visible": _rounded(annotation.visible),
    }


def _rounded(value: Any) -> Any:
    """Round to a hundredth of a pixel, which is finer than anything that is drawn."""
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
