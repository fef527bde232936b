"""Annotated pictures for the evaluation of a detector: COCO's JSON with a folder, or YOLO's text files of labels.

Pictures are read one at a time, so that no data set has to fit into memory.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shardline.client.pictures import upright_size
from shardline.training.evaluation.coco import Box, TrueObject
from shardline.training.folder import picture_files
from shardline.wire.errors import DatasetError

CLASSES_FILE = "classes.txt"  # names of YOLO's classes, one per line

_IMAGES, _LABELS = "images", "labels"  # YOLO's two folders


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedPicture:
    name: str  # of its file, relative to the folder
    picture: bytes  # as a client would send it
    size: tuple[int, int]  # width and height of the upright picture
    objects: tuple[TrueObject, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedPictures:
    """Annotated pictures of a folder, read one at a time.

    Attributes:
        labels: names of the classes.
        by_index: True where the classes have no names: a class is then the model's class with the same index.
        files: of the pictures.
        annotations: one for each file: COCO's annotations of it, or the lines of its text file.

    Iterating raises:
        DatasetError: a picture cannot be read, or an annotation of it makes no sense.
    """

    folder: Path
    labels: tuple[str, ...]
    by_index: bool
    files: tuple[Path, ...]
    annotations: tuple[Sequence[Any], ...]

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[AnnotatedPicture]:
        for path, annotations in zip(self.files, self.annotations, strict=True):
            name = path.relative_to(self.folder).as_posix()
            try:
                picture = path.read_bytes()
            except OSError as exc:
                raise DatasetError(f"{path} cannot be read: {exc.strerror or exc}") from exc
            size = upright_size(picture)
            if size is None:
                raise DatasetError(f"{path} is not a picture that can be read")
            objects = tuple(_object(entry, size, len(self.labels), path) for entry in annotations)
            yield AnnotatedPicture(name=name, picture=picture, size=size, objects=objects)


def open_pictures(folder: Path, annotations: Path | None, count: int | None) -> AnnotatedPictures:
    """Open the pictures of COCO's JSON, or the pictures of a folder with a text file of YOLO's labels for each.

    Args:
        folder: of the pictures. YOLO's text file of a picture lies beside it, or in `labels` where it is in `images`.
        annotations: COCO's JSON; None: YOLO's text files.
        count: at most this number of pictures, evenly spread over the list.

    Raises:
        DatasetError: a file is missing, cannot be read, or is of another kind.
    """
    found = _open_yolo(folder) if annotations is None else _open_coco(folder, annotations)
    if count is None or count >= len(found):
        return found
    chosen = [len(found) * number // count for number in range(count)]
    return AnnotatedPictures(
        folder=found.folder,
        labels=found.labels,
        by_index=found.by_index,
        files=tuple(found.files[index] for index in chosen),
        annotations=tuple(found.annotations[index] for index in chosen),
    )


def _open_coco(folder: Path, path: Path) -> AnnotatedPictures:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        categories = sorted((int(entry["id"]), str(entry["name"])) for entry in document["categories"])
        position = {identity: number for number, (identity, _) in enumerate(categories)}
        by_image: dict[int, list[Mapping[str, Any]]] = {int(image["id"]): [] for image in document["images"]}
        for entry in document["annotations"]:
            label = position[int(entry["category_id"])]
            by_image[int(entry["image_id"])].append({**entry, "label": label})
        files = {int(image["id"]): folder / str(image["file_name"]) for image in document["images"]}
    except OSError as exc:
        raise DatasetError(f"{path} cannot be read: {exc.strerror or exc}") from exc
    except (ValueError, KeyError, TypeError) as exc:
        raise DatasetError(
            f"{path} is not COCO's JSON ({type(exc).__name__}: {exc}): it has images with id and file_name, categories "
            "with id and name, and annotations with image_id, category_id and bbox"
        ) from exc
    if not files or not categories:
        raise DatasetError(f"{path} lists no images or no categories")
    return AnnotatedPictures(
        folder=folder,
        labels=tuple(name for _, name in categories),
        by_index=False,
        files=tuple(files.values()),
        annotations=tuple(by_image[image] for image in files),
    )


def _open_yolo(folder: Path) -> AnnotatedPictures:
    files = tuple(picture_files(folder))
    lines = []
    for path in files:
        text = _label_file(path)
        try:
            lines.append([line for line in text.read_text(encoding="utf-8").splitlines() if line.strip()])
        except FileNotFoundError:
            lines.append([])  # a picture without objects, as in YOLO's data sets
        except (OSError, UnicodeDecodeError) as exc:
            raise DatasetError(f"{text} cannot be read: {exc}") from exc
    if not any(lines):
        raise DatasetError(
            f"{folder} has no labels: write a text file beside each picture with a line 'class x y width height' for "
            "each object, in shares of the picture, or name COCO's JSON by --annotations"
        )
    parsed = tuple([_yolo_line(line, path) for line in entries] for path, entries in zip(files, lines, strict=True))
    names = next((place / CLASSES_FILE for place in (folder, folder.parent) if (place / CLASSES_FILE).is_file()), None)
    if names is None:
        count = 1 + max(entry["label"] for entries in parsed for entry in entries)
        labels = tuple(f"class {number}" for number in range(count))
    else:
        labels = tuple(name.strip() for name in names.read_text(encoding="utf-8").splitlines() if name.strip())
    return AnnotatedPictures(folder=folder, labels=labels, by_index=names is None, files=files, annotations=parsed)


def _label_file(picture: Path) -> Path:
    beside = picture.with_suffix(".txt")
    if beside.is_file() or _IMAGES not in picture.parts:
        return beside
    at = len(picture.parts) - 1 - picture.parts[::-1].index(_IMAGES)
    return Path(*picture.parts[:at], _LABELS, *picture.parts[at + 1 :]).with_suffix(".txt")


def _yolo_line(line: str, picture: Path) -> Mapping[str, Any]:
    try:
        label, *box = line.split()
        centre_x, centre_y, width, height = map(float, box)
        number = int(label)
    except ValueError as exc:
        raise DatasetError(f"a label of {picture} is {line[:80]!r}; allowed: class x y width height") from exc
    corners = (centre_x - width / 2, centre_y - height / 2, centre_x + width / 2, centre_y + height / 2)
    if number < 0 or not all(-0.01 <= side <= 1.01 for side in corners):
        raise DatasetError(
            f"a label of {picture} is {line[:80]!r}; allowed: a class from 0, and a box in shares of the picture, from "
            "0 to 1"
        )
    return {"label": number, "share": corners}


def _object(entry: Mapping[str, Any], size: tuple[int, int], classes: int, path: Path) -> TrueObject:
    """The true object of an annotation: COCO's, or a parsed line of YOLO's."""
    if "share" in entry:
        left, top, right, bottom = (share * side for share, side in zip(entry["share"], (*size, *size), strict=True))
    else:
        try:
            left, top, width, height = map(float, entry["bbox"])
        except (KeyError, TypeError, ValueError) as exc:
            raise DatasetError(f"an annotation of {path} has no bbox of left, top, width and height") from exc
        right, bottom = left + width, top + height
    if not entry["label"] < classes or not all(map(math.isfinite, (left, top, right, bottom))):
        raise DatasetError(f"an annotation of {path} has a class that is not listed, or a box that is not finite")
    width, height = size
    box: Box = (max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height)))
    if box[2] <= box[0] or box[3] <= box[1]:
        raise DatasetError(
            f"{path} is {width} x {height} pixels, and an annotation lies outside of it, at "
            f"{left:.0f}, {top:.0f}, {right:.0f}, {bottom:.0f}: are these the annotations of these pictures?"
        )
    return TrueObject(label=entry["label"], box=box, crowd=bool(entry.get("iscrowd", False)))
