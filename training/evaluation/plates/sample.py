"""What is asked about: a picture as its file's bytes, and what is drawn in it.

Three sources: drawn while it is needed, stored as `shardline plates draw` writes it, and plain photographs without
plates. All three are gone through one picture at a time, so that no data set has to fit into memory.
"""

import io
import json
from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from shardline.tasks.plates.text import CLASSES, KINDS, Kind
from shardline.training.evaluation.worst import Points
from shardline.training.plates.annotations import DrawnPicture, DrawnPlate
from shardline.training.plates.dataset import ANNOTATIONS
from shardline.training.plates.geometry import Box, area, clip
from shardline.training.plates.picture import PlateStream
from shardline.wire.errors import ModelError


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """A plate, group or character. What cannot be told (`crowd`) is neither asked for nor counted as wrong."""

    label: int  # index in CLASSES
    box: Box  # cut to the picture, in its pixels
    crowd: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TruePlate:
    kind: Kind
    text: str  # "12A 3456"
    readable: bool  # everything on it can be recognised
    box: Box  # cut to the picture, in its pixels
    quad: Points  # its corners from the text's top left on, clockwise, not cut
    width_px: float  # in the picture
    angle_deg: float
    font: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    name: str  # of its file, or its number
    picture: bytes  # as a client would send it
    size: tuple[int, int]  # width, height
    things: tuple[Thing, ...] = ()
    plates: tuple[TruePlate, ...] = ()
    blur_px: float = 0.0  # sigma, of the whole picture
    motion_px: int = 0  # length of the smear; 0 is none


class Samples(Sized, Protocol):
    """Pictures of which it is known how many there are. It can be gone through once or again."""

    def __iter__(self) -> Iterator[Sample]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """`count` pictures of a seed, each drawn when its turn comes.

    Going through them raises:
        ModelError: a font or a photograph cannot be read.
    """

    plates: PlateStream
    count: int

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Sample]:
        return (drawn_sample(str(index), self.plates.draw(index)) for index in range(self.count))


def drawn_sample(name: str, picture: DrawnPicture) -> Sample:
    """A picture as it was drawn -> what is asked about it. PNG loses nothing."""
    height, width, _ = picture.pixels.shape
    with io.BytesIO() as buffer:
        Image.fromarray(picture.pixels).save(buffer, "PNG", compress_level=1)
        png = buffer.getvalue()
    things = (
        Thing(label=CLASSES.index(mark.label), box=clip(mark.box, (width, height)), crowd=not mark.recognisable)
        for plate in picture.plates
        for mark in plate.annotations
    )
    plates = (_drawn_plate(plate, (width, height)) for plate in picture.plates)
    return Sample(
        name=name,
        picture=png,
        size=(width, height),
        things=tuple(thing for thing in things if area(thing.box)),
        plates=tuple(plate for plate in plates if area(plate.box)),
        blur_px=picture.exposure.blur_px,
        motion_px=picture.exposure.motion_px,
    )


def _drawn_plate(plate: DrawnPlate, size: tuple[int, int]) -> TruePlate:
    board = plate.annotations[0]
    return TruePlate(
        kind=plate.kind,
        text=str(plate.text),
        readable=plate.readable,
        box=clip(board.box, size),
        quad=_points(board.quad.tolist()),
        width_px=plate.outline.width_px,
        angle_deg=plate.outline.angle_deg,
        font=plate.font,
    )


def _points(corners: Sequence[Sequence[float]]) -> Points:
    return tuple((float(x), float(y)) for x, y in corners)


class Stored:
    """A folder of pictures with the `annotations.json` that `shardline plates draw` writes."""

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            ModelError: there is no such file, or it is not of that form.
        """
        self._folder = folder
        path = folder / ANNOTATIONS
        try:
            document = json.loads(path.read_bytes())
            names = {each["id"]: each["name"] for each in document["categories"]}
            self._labels = {number: CLASSES.index(name) for number, name in names.items()}
            self._images: list[Mapping[str, Any]] = list(document["images"])
            self._things: dict[int, list[Mapping[str, Any]]] = {}
            for each in document["annotations"]:
                self._things.setdefault(each["image_id"], []).append(each)
        except FileNotFoundError as exc:
            raise ModelError(f"{folder} holds no {ANNOTATIONS}: name a folder of `shardline plates draw`") from exc
        except OSError as exc:
            raise ModelError(f"{path} cannot be read: {exc.strerror or exc}") from exc
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise _off_form(path, exc) from exc
        if not self._images:
            raise ModelError(f"{path} lists no pictures: draw some with `shardline plates draw`")

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[Sample]:
        for image in self._images:
            try:
                picture = (self._folder / image["file_name"]).read_bytes()
                yield self._sample(image, picture)
            except OSError as exc:
                raise ModelError(
                    f"{self._folder / image['file_name']} cannot be read: {exc.strerror or exc}; {ANNOTATIONS} lists it"
                ) from exc
            except (KeyError, TypeError, ValueError, IndexError) as exc:
                raise _off_form(self._folder / ANNOTATIONS, exc) from exc

    def _sample(self, image: Mapping[str, Any], picture: bytes) -> Sample:
        annotations = self._things.get(image["id"], [])
        boards = {each["plate"]: each for each in annotations if CLASSES[self._label(each)].endswith("board")}
        plates = ((plate, boards.get(number)) for number, plate in enumerate(image["plates"]))
        return Sample(
            name=str(image["file_name"]),
            picture=picture,
            size=(int(image["width"]), int(image["height"])),
            things=tuple(
                Thing(label=self._label(each), box=_box(each), crowd=bool(each["iscrowd"])) for each in annotations
            ),
            plates=tuple(_stored_plate(plate, board) for plate, board in plates if board is not None),
            blur_px=float(image["exposure"]["blur_px"]),
            motion_px=int(image["exposure"]["motion_px"]),
        )

    def _label(self, annotation: Mapping[str, Any]) -> int:
        return self._labels[annotation["category_id"]]


def _stored_plate(plate: Mapping[str, Any], board: Mapping[str, Any]) -> TruePlate:
    return TruePlate(
        kind=KINDS[KINDS.index(plate["type"])],
        text=str(plate["text"]),
        readable=bool(plate["readable"]),
        box=_box(board),
        quad=_points(board["quad"]),
        width_px=float(plate["width"]),
        angle_deg=float(plate["angle"]),
        font=str(plate["font"]),
    )


def _box(annotation: Mapping[str, Any]) -> Box:
    left, top, width, height = (float(each) for each in annotation["bbox"])
    return left, top, left + width, top + height


def _off_form(path: Path, exc: Exception) -> ModelError:
    what = f"{type(exc).__name__}: {exc}"
    return ModelError(f"{path} is not of the form that `shardline plates draw` writes ({what}): draw it again")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """Photographs in which there is no plate: whatever is found in them is false."""

    files: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[Sample]:
        for path in self.files:
            try:
                yield Sample(name=path.name, picture=path.read_bytes(), size=_size(path))
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as exc:
                raise ModelError(f"{path} cannot be read as a picture ({exc}): take it out of the folder") from exc


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as opened:
        turned = opened.getexif().get(0x0112) in (5, 6, 7, 8)
        return (opened.height, opened.width) if turned else opened.size
