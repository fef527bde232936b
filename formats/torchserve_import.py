"""Import a model from a TorchServe archive: its weights, labels and preprocessing, as input for `shardline build`.

An archive is a zip whose files lie side by side. Reading it runs nothing, and only the files that are asked for are
unpacked. There are three ways, by what the archive holds and what the user vouches for:
    eager, and the user names the model   the user's own class, with the archive's weights, read as plain tensors
    eager, trusted                        the class in the archive's own Python file, which is run
    TorchScript, trusted                  torch's converter makes an exported program of it: the script is a program

A handler is never run. `image_classifier` is known: its preprocessing equals that of a bundle's transformer with the
settings below. A custom handler with the same preprocessing, in other sizes or numbers, is imported when the user says
so.
"""

import importlib
import inspect
import json
import reprlib
import sys
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from torch import nn

from shardline.formats.torchscript import load_torchscript
from shardline.partition.models import Model, load_model
from shardline.partition.program import one_line, runnable
from shardline.storage.bundle import IMAGENET_MEAN, IMAGENET_STD, PictureSpec
from shardline.wire.errors import FormatError

Kind = Literal["eager", "torchscript"]

MANIFEST = "MAR-INF/MANIFEST.json"
LABELS_FILE = "index_to_name.json"
_JSON_BYTES = 16 * 1024**2  # of the manifest, and of the labels

IMAGE_CLASSIFIER = "image_classifier"
# ts/torch_handler/image_classifier.py of TorchServe 0.12: Resize(256), CenterCrop(224), ToTensor, Normalize
CLASSIFIER_PICTURE = PictureSpec(height=224, width=224, fit="crop", resize=256, interpolation="bilinear")
_TRACED_BATCH = 2


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Taking:
    """What the user says of an archive.

    Attributes:
        model: the eager model's reference, as `shardline build` takes it; None: the archive's own, if it is trusted.
        trust: code out of the archive may be run.
        handler: what the archive's handler does, where it is a file of the user's own.
        picture: what the handler makes of a picture; so are `mean` and `std`.
    """

    model: str | None = None
    trust: bool = False
    handler: str | None = None
    picture: PictureSpec = CLASSIFIER_PICTURE
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


def take_over(archive: Archive, taking: Taking) -> Model:
    """The archive's model with its weights, labels and pictures.

    Raises:
        FormatError: another handler, code that would have to be run without `trust`, or an archive that does not hold
            what it says.
        ModelError: the weights are not plain tensors, or do not fit the model.
    """
    _check_handler(archive, taking.handler)
    with TemporaryDirectory() as scratch:
        if archive.kind == "torchscript":
            model = _from_torchscript(archive, taking, Path(scratch))
        elif taking.model is not None:
            model = load_model(taking.model, str(_weights(archive, Path(scratch))))
        else:
            model = _from_own_class(archive, taking, Path(scratch))
    return replace(
        model,
        reference=taking.model or f"{archive.path.name}",
        weights=f"{archive.serialized} of {archive.path.name}",
        picture=taking.picture,
        mean=taking.mean,
        std=taking.std,
        labels=archive.labels,
    )


def _check_handler(archive: Archive, said: str | None) -> None:
    found = said or archive.handler_name
    if found == IMAGE_CLASSIFIER:
        return
    own = archive.handler_name.endswith(".py")
    remedy = (
        f"if it prepares pictures as {IMAGE_CLASSIFIER} does, say --handler {IMAGE_CLASSIFIER} (with --size, --mean … "
        "where they differ), else follow docs/moving-from-torchserve.md"
        if own
        else "only classifiers of pictures are taken over by this command"
    )
    raise FormatError(f"{archive.path} has the handler {found!r}; taken over is {IMAGE_CLASSIFIER}: {remedy}")


def _weights(archive: Archive, scratch: Path) -> Path:
    """The state dict under a name by which it is known as a file; it is read as plain tensors alone."""
    return unpack(archive, archive.serialized, scratch).rename(scratch / "weights.pt")


def _from_own_class(archive: Archive, taking: Taking, scratch: Path) -> Model:
    assert archive.model_file is not None
    if not taking.trust:
        raise FormatError(
            f"{archive.path} has its model's code in {archive.model_file}, which would be run: name the model yourself "
            "(--model torchvision:resnet18 or package.module:factory), or say --trust if you trust the archive"
        )
    unpack_all(archive, scratch)
    weights = (scratch / archive.serialized).rename(scratch / "weights.pt")
    with _importable(scratch):
        module = Path(archive.model_file).stem
        return load_model(f"{module}:{_only_class(module, archive)}", str(weights))


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _only_class(name: str, archive: Archive) -> str:
    """TorchServe takes the one class of the file."""
    try:
        module = importlib.import_module(name)
    except Exception as exc:  # the user's code
        raise FormatError(f"{archive.path}: {archive.model_file} cannot be imported: {one_line(exc)}") from exc
    classes = [
        key
        for key, each in inspect.getmembers(module, inspect.isclass)
        if each.__module__ == name and issubclass(each, nn.Module)
    ]
    if len(classes) != 1:
        raise FormatError(
            f"{archive.path}: {archive.model_file} has the models {', '.join(classes) or 'none'}; TorchServe takes "
            "exactly one: name it with --model package.module:factory"
        )
    return classes[0]


def _from_torchscript(archive: Archive, taking: Taking, scratch: Path) -> Model:
    if taking.model is not None:
        raise FormatError(f"{archive.path} is TorchScript, which holds the model too: leave --model out")
    if not taking.trust:
        raise FormatError(
            f"{archive.path} is TorchScript, which is a program: say --trust if you trust the archive, or make a "
            "bundle of the model and its weights with shardline build"
        )
    path = unpack(archive, archive.serialized, scratch)
    try:
        module = _converted(load_torchscript(path).eval(), taking.picture)
    except Exception as exc:  # a loader and a converter of many parts: they raise whatever they like
        raise FormatError(
            f"{archive.path}: {archive.serialized} cannot be made an exported program ({one_line(exc)}): build the "
            "bundle of the model's Python and its weights, see docs/moving-from-torchserve.md"
        ) from exc
    return Model(
        reference=archive.path.name,
        weights=archive.serialized,
        module=module,
        picture=taking.picture,
        mean=taking.mean,
        std=taking.std,
    )


def _converted(script: torch.jit.ScriptModule, picture: PictureSpec) -> nn.Module:
    from torch._export.converter import TS2EPConverter  # slow, and torch's own: it has no public name

    example = torch.zeros(_TRACED_BATCH, 3, picture.height, picture.width)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch warns about its own internals
        return runnable(TS2EPConverter(script, (example,)).convert())
