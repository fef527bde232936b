"""TorchServe's model archive, read: what MAR-INF/MANIFEST.json names, and the labels.

An archive is a zip whose files lie side by side. Nothing in it is run here, and only files that are asked for are
unpacked.
"""

import json
import reprlib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from shardline.wire.errors import FormatError

Kind = Literal["eager", "torchscript"]

MANIFEST = "MAR-INF/MANIFEST.json"
LABELS_FILE = "index_to_name.json"
_JSON_BYTES = 16 * 1024**2  # of the manifest, and of the labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """What an archive says of itself.

    Attributes:
        handler: the name of one of TorchServe's own, or a Python file in the archive.
        serialized: the file with the weights, or with the TorchScript.
        model_file: the Python file with the eager model's class, None for TorchScript.
        labels: by class; none where the archive names none.
    """

    path: Path
    name: str
    handler: str
    serialized: str
    model_file: str | None
    labels: tuple[str, ...]

    @property
    def kind(self) -> Kind:
        """As TorchServe itself decides."""
        return "eager" if self.model_file else "torchscript"

    @property
    def handler_name(self) -> str:
        """`image_classifier` of `image_classifier` and of `image_classifier:handle`; a file keeps its `.py`."""
        return self.handler.partition(":")[0]


def read_archive(path: Path) -> Archive:
    """
    Raises:
        FormatError: not a zip, no manifest, or one that names no model.
    """
    with _opened(path) as archive:
        model = _json(archive, MANIFEST, path).get("model")
        if not isinstance(model, dict):
            raise FormatError(f"{path}: {MANIFEST} has no model: is it of torch-model-archiver?")
        names = set(_plain_names(archive))
        labels = _labels(_json(archive, LABELS_FILE, path), path) if LABELS_FILE in names else ()
        for key in ("serializedFile", "modelFile"):
            if model.get(key) and str(model[key]) not in names:
                raise FormatError(
                    f"{path}: {MANIFEST} names {reprlib.repr(model[key])} as {key}, which is not a file at the top of "
                    "the archive"
                )
    if not model.get("serializedFile"):
        raise FormatError(f"{path}: {MANIFEST} names no serializedFile, so there are no weights to take over")
    return Archive(
        path=path,
        name=str(model.get("modelName") or path.stem),
        handler=str(model.get("handler") or ""),
        serialized=str(model["serializedFile"]),
        model_file=str(model["modelFile"]) if model.get("modelFile") else None,
        labels=labels,
    )


def unpack(archive: Archive, name: str, folder: Path) -> Path:
    """One file of the archive, written into `folder`."""
    with _opened(archive.path) as opened:
        return Path(opened.extract(name, folder))


def unpack_all(archive: Archive, folder: Path) -> None:
    """Every file at the top of the archive: a model's Python file may import its neighbours."""
    with _opened(archive.path) as opened:
        for name in _plain_names(opened):
            opened.extract(name, folder)


def _plain_names(archive: zipfile.ZipFile) -> Iterator[str]:
    """The files at the top: what TorchServe unpacks side by side."""
    return (name for name in archive.namelist() if PurePosixPath(name).name == name and name not in (".", ".."))


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as exc:
        raise FormatError(
            f"{path} is no model archive ({exc}): give a .mar, as torch-model-archiver makes by default"
        ) from exc


def _json(archive: zipfile.ZipFile, name: str, path: Path) -> dict[str, Any]:
    try:
        if archive.getinfo(name).file_size > _JSON_BYTES:
            raise FormatError(f"{path}: {name} has over {_JSON_BYTES} bytes")
        document = json.loads(archive.read(name))
    except (KeyError, ValueError, RecursionError, zipfile.BadZipFile) as exc:
        raise FormatError(f"{path}: {name} is missing or no JSON: is it of torch-model-archiver?") from exc
    if not isinstance(document, dict):
        raise FormatError(f"{path}: {name} is not a JSON object")
    return document


def _labels(document: dict[str, Any], path: Path) -> tuple[str, ...]:
    """Class -> name; of a list of names TorchServe shows the last, and an older form lists all under one key."""
    listed = document.get("object_type_names")
    names = listed if isinstance(listed, list) else [document.get(str(index)) for index in range(len(document))]
    labels = [name[-1] if isinstance(name, list) and name else name for name in names]
    if not all(isinstance(label, str) and label for label in labels):
        raise FormatError(f"{path}: {LABELS_FILE} must name the classes 0 to {len(names) - 1}, each with a text")
    return tuple(str(label) for label in labels)
