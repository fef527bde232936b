"""What is asked about: a picture as its file's bytes, and the class that it shows."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from training.folder import TEST, Labelled, has_split, read_split
from wire.errors import ModelError


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    name: str  # of its file, from the folder on
    picture: bytes  # as a client would send it
    label: int  # its class: a place in Pictures.labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Pictures of a folder, read one at a time.

    Going through them raises:
        ModelError: one cannot be read.
    """

    folder: Path
    labelled: Labelled

    @property
    def labels(self) -> tuple[str, ...]:
        return self.labelled.labels

    def __len__(self) -> int:
        return len(self.labelled.files)

    def __iter__(self) -> Iterator[Sample]:
        for path, label in zip(self.labelled.files, self.labelled.classes, strict=True):
            try:
                picture = path.read_bytes()
            except OSError as exc:
                raise ModelError(f"{path} cannot be read: {exc.strerror or exc}") from exc
            yield Sample(name=path.relative_to(self.folder).as_posix(), picture=picture, label=label)


def read_pictures(folder: Path) -> Pictures:
    """FOLDER/test/CLASS/picture, or FOLDER/CLASS/picture where there is no folder test.

    Raises:
        ModelError: there is no such folder, or a class without pictures.
    """
    if has_split(folder, TEST):
        return Pictures(folder=folder / TEST, labelled=read_split(folder, TEST))
    if not folder.is_dir():
        raise ModelError(f"{folder} is no folder: name one with test/CLASS/*.jpg or CLASS/*.jpg")
    return Pictures(folder=folder, labelled=read_split(folder.parent, folder.name))
