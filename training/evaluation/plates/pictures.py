"""Pictures for the evaluation of a plate detector, with ground truth: drawn on demand, stored, or without plates.

All three are iterated one picture at a time, so that no data set has to fit into memory.
"""

import io
import json
from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from PIL import Image

from shardline.tasks.plates.grammar import PlateGrammar, built_in, parse_grammar
from shardline.tasks.plates.text import parse_text
from shardline.training.evaluation.coco import TrueObject
from shardline.training.plates.annotations import ANNOTATIONS, DrawnPicture, DrawnPlate
from shardline.training.plates.backgrounds import Backgrounds
from shardline.training.plates.fonts import families
from shardline.training.plates.geometry import Box, area, clip
from shardline.training.plates.picture import PlateStream
from shardline.training.plates.scene import Scene
from shardline.wire.errors import DatasetError, UsageError
from shardline.wire.limits import PLATE_INPUT_SIDE

_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap width and height
_ORIENTATION = 0x0112

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TruePlate:
    kind: str
    text: str  # "12A 3456"
    texts: Mapping[str, str]  # of each group, by its key in a reply, in reading order
    readable: bool  # everything on it can be recognised
    box: Box  # clipped to the picture, in its pixels
    quad: Points  # its corners, clockwise from the top left of the text, not clipped
    width_px: float  # in the picture
    angle_deg: float
    font: str
    readable_groups: tuple[bool, ...] = ()  # for each group: all its characters can be recognised; empty: unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatePicture:
    """The bytes of a picture file and its ground truth."""

    name: str  # of its file, or its number
    picture: bytes  # as a client would send it
    size: tuple[int, int]  # width, height
    objects: tuple[TrueObject, ...] = ()
    plates: tuple[TruePlate, ...] = ()
    blur_px: float = 0.0  # sigma of the blur of the whole picture
    motion_px: int = 0  # length of the motion blur; 0: none


class PlatePictures(Sized, Protocol):
    """Pictures whose number is known. They can be iterated repeatedly."""

    def __iter__(self) -> Iterator[PlatePicture]: ...


def drawn_pictures(
    count: int,
    seed: int,
    fonts: Literal["train", "held-out", "all"],
    backgrounds: Sequence[Path],
    size: int | None,
    covered_characters: int = 0,
    grammar: PlateGrammar | None = None,
) -> "DrawnPictures":
    """`count` pictures of `size` pixels a side, drawn onto the photographs `backgrounds`.

    On each plate `covered_characters` characters are covered, whatever else is.

    Raises:
        UsageError: a value that no picture can have.
    """
    side = size or PLATE_INPUT_SIDE
    scene = Scene(size=(side, side), covered_characters=covered_characters, grammar=grammar or built_in())
    photographs = Backgrounds(files=tuple(backgrounds))
    return DrawnPictures(
        plates=PlateStream(seed=seed, scene=scene, fonts=families(fonts), backgrounds=photographs), count=count
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnPictures:
    """`count` pictures of a seed, each drawn when it is iterated.

    Iterating raises:
        ShardlineError: a font or a photograph cannot be read.
    """

    plates: PlateStream
    count: int

    @property
    def grammar(self) -> PlateGrammar:
        return self.plates.scene.grammar

    @property
    def files(self) -> tuple[Path, ...]:
        """None: the photographs were looked through before."""
        return ()

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[PlatePicture]:
        return (drawn_picture(str(index), self.plates.draw(index), self.grammar) for index in range(self.count))


def drawn_picture(name: str, picture: DrawnPicture, grammar: PlateGrammar | None = None) -> PlatePicture:
    """A drawn picture as a PNG file, which is lossless, with its ground truth."""
    height, width, _ = picture.pixels.shape
    with io.BytesIO() as buffer:
        Image.fromarray(picture.pixels).save(buffer, "PNG", compress_level=1)
        png = buffer.getvalue()
    grammar = grammar or built_in()
    classes = grammar.classes
    objects = (
        TrueObject(label=classes.index(mark.label), box=clip(mark.box, (width, height)), crowd=not mark.recognisable)
        for plate in picture.plates
        for mark in plate.annotations
    )
    plates = (_drawn_plate(plate, (width, height), grammar) for plate in picture.plates)
    return PlatePicture(
        name=name,
        picture=png,
        size=(width, height),
        objects=tuple(found for found in objects if area(found.box)),
        plates=tuple(plate for plate in plates if area(plate.box)),
        blur_px=picture.exposure.blur_px,
        motion_px=picture.exposure.motion_px,
    )


def group_texts(groups: Sequence[str], grammar: PlateGrammar) -> dict[str, str]:
    """The texts of a plate's groups, by their keys in a reply."""
    return {group.name: text for group, text in zip(grammar.groups, groups, strict=True)}


def _drawn_plate(plate: DrawnPlate, size: tuple[int, int], grammar: PlateGrammar) -> TruePlate:
    board = plate.annotations[0]
    return TruePlate(
        kind=plate.kind,
        text=str(plate.text),
        texts=group_texts(plate.text.groups, grammar),
        readable=plate.readable,
        readable_groups=plate.readable_groups,
        box=clip(board.box, size),
        quad=_points(board.quad.tolist()),
        width_px=plate.outline.width_px,
        angle_deg=plate.outline.angle_deg,
        font=plate.font,
    )


def _points(corners: Sequence[Sequence[float]]) -> Points:
    return tuple((float(x), float(y)) for x, y in corners)


class StoredPictures:
    """A folder of pictures with the `annotations.json` that `shardline plates draw` writes."""

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            DatasetError: there is no such file, or it does not have that format.
        """
        self._folder = folder
        path = folder / ANNOTATIONS
        try:
            document = json.loads(path.read_bytes())
            source = document.get("info", {}).get("grammar")
            self.grammar = built_in() if source is None else parse_grammar(str(source), f"in {path}")
            classes = self.grammar.classes
            self._labels = {category["id"]: classes.index(category["name"]) for category in document["categories"]}
            self._images: list[Mapping[str, Any]] = list(document["images"])
            self._annotations: dict[int, list[Mapping[str, Any]]] = {}
            for annotation in document["annotations"]:
                self._annotations.setdefault(annotation["image_id"], []).append(annotation)
        except FileNotFoundError as exc:
            raise DatasetError(f"{folder} holds no {ANNOTATIONS}: name a folder of `shardline plates draw`") from exc
        except OSError as exc:
            raise DatasetError(f"{path} cannot be read: {exc.strerror or exc}") from exc
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise _wrong_format(path, exc) from exc
        if not self._images:
            raise DatasetError(f"{path} lists no pictures: draw some with `shardline plates draw`")

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(self._folder / str(image["file_name"]) for image in self._images if "file_name" in image)

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[PlatePicture]:
        for image in self._images:
            try:
                picture = (self._folder / image["file_name"]).read_bytes()
                yield self._picture(image, picture)
            except OSError as exc:
                raise DatasetError(
                    f"{self._folder / image['file_name']} cannot be read: {exc.strerror or exc}; {ANNOTATIONS} lists it"
                ) from exc
            except (KeyError, TypeError, ValueError, IndexError, UsageError) as exc:
                raise _wrong_format(self._folder / ANNOTATIONS, exc) from exc

    def _picture(self, image: Mapping[str, Any], picture: bytes) -> PlatePicture:
        annotations = self._annotations.get(image["id"], [])
        boards = {
            annotation["plate"]: annotation
            for annotation in annotations
            if self.grammar.classes[self._label(annotation)].endswith("board")
        }
        for plate in image["plates"]:
            self.grammar.type_named(plate["type"])
        plates = ((plate, boards.get(number)) for number, plate in enumerate(image["plates"]))
        return PlatePicture(
            name=str(image["file_name"]),
            picture=picture,
            size=(int(image["width"]), int(image["height"])),
            objects=tuple(
                TrueObject(label=self._label(annotation), box=_box(annotation), crowd=bool(annotation["iscrowd"]))
                for annotation in annotations
            ),
            plates=tuple(_stored_plate(plate, board, self.grammar) for plate, board in plates if board is not None),
            blur_px=float(image["exposure"]["blur_px"]),
            motion_px=int(image["exposure"]["motion_px"]),
        )

    def _label(self, annotation: Mapping[str, Any]) -> int:
        return self._labels[annotation["category_id"]]


def _stored_plate(plate: Mapping[str, Any], board: Mapping[str, Any], grammar: PlateGrammar) -> TruePlate:
    return TruePlate(
        kind=str(plate["type"]),
        text=str(plate["text"]),
        texts=group_texts(parse_text(str(plate["text"]), grammar).groups, grammar),
        readable=bool(plate["readable"]),
        readable_groups=tuple(map(bool, plate.get("readable_groups", ()))),
        box=_box(board),
        quad=_points(board["quad"]),
        width_px=float(plate["width"]),
        angle_deg=float(plate["angle"]),
        font=str(plate["font"]),
    )


def _box(annotation: Mapping[str, Any]) -> Box:
    left, top, width, height = (float(value) for value in annotation["bbox"])
    return left, top, left + width, top + height


def _wrong_format(path: Path, exc: Exception) -> DatasetError:
    what = f"{type(exc).__name__}: {exc}"
    return DatasetError(f"{path} is not in the format that `shardline plates draw` writes ({what}): draw it again")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainPhotographs:
    """Photographs without plates: every plate that is found in them is a false positive."""

    files: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[PlatePicture]:
        for path in self.files:
            try:
                yield PlatePicture(name=path.name, picture=path.read_bytes(), size=_size(path))
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as exc:
                raise DatasetError(f"{path} cannot be read as a picture ({exc}): take it out of the folder") from exc


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as opened:
        sideways = opened.getexif().get(_ORIENTATION) in _SIDEWAYS
        return (opened.height, opened.width) if sideways else opened.size
