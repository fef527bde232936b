"""Import a model from a TorchServe archive: its weights, labels and preprocessing, as input for `shardline build`.

Reading an archive, a zip, runs nothing; unless it is trusted, only the files that are asked for are unpacked. There are
three ways, by what the archive holds and what the user vouches for:
    eager, and the user names the model   the user's own class, with the archive's weights, read as plain tensors
    eager, trusted                        the class in the archive's own Python file, which is run
    TorchScript, trusted                  torch's converter makes an exported program of it: the script is a program

A handler is never run. `image_classifier` is known: its preprocessing equals that of a bundle's transformer with the
settings below. A custom handler with the same preprocessing, in other sizes or numbers, is imported when the user says
so.
"""

import importlib
import inspect
import reprlib
import struct
import sys
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from torch import nn

from shardline.formats.torchscript import load_torchscript
from shardline.partition.guard import users_code
from shardline.partition.models import Model, load_model
from shardline.partition.program import one_line, runnable
from shardline.storage.bundle import IMAGENET_MEAN, IMAGENET_STD, PictureSpec
from shardline.wire.errors import FormatError
from shardline.wire.limits import MIB, format_bytes
from shardline.wire.typed import from_json, is_relative_path

Kind = Literal["eager", "torchscript"]

MANIFEST = "MAR-INF/MANIFEST.json"
LABELS_FILE = "index_to_name.json"
_JSON_BYTES = 16 * MIB  # of the manifest, and of the labels
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_MOST_RATIO, _FREE_BYTES = 20, 64 * MIB  # an archive may be so many times larger unpacked, and so many bytes
# what zipfile raises for archives that it does not understand: damaged, encrypted, of later versions
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, struct.error)

IMAGE_CLASSIFIER = "image_classifier"
# ts/torch_handler/image_classifier.py of TorchServe 0.12: Resize(256), CenterCrop(224), ToTensor, Normalize
CLASSIFIER_PICTURE = PictureSpec(height=224, width=224, fit="crop", resize=256, interpolation="bilinear")
_TRACED_BATCH = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelArchive:
    """Manifest of a TorchServe archive.

    Attributes:
        handler: name of one of TorchServe's own handlers, or a Python file in the archive.
        serialized: file with the weights, or with the TorchScript.
        model_file: Python file with the eager model's class, None for TorchScript.
        labels: class names; empty where the archive has none.
    """

    path: Path
    name: str
    handler: str
    serialized: str
    model_file: str | None
    labels: tuple[str, ...]

    @property
    def kind(self) -> Kind:
        """Kind of the model, by TorchServe's own rule."""
        return "eager" if self.model_file else "torchscript"

    @property
    def handler_name(self) -> str:
        """Name without an entry point: `image_classifier` for `image_classifier:handle`; a file keeps its `.py`."""
        return self.handler.partition(":")[0]


def read_archive(path: Path) -> ModelArchive:
    """Read an archive's manifest and labels.

    Raises:
        FormatError: not a zip, no manifest, or a manifest without a model.
    """
    with _opened(path) as archive:
        model = _json(archive, MANIFEST, path).get("model")
        if not isinstance(model, dict):
            raise FormatError(f"{path}: {MANIFEST} has no model: was it made by torch-model-archiver?")
        names = set(_plain_names(archive))
        labels = _labels(_json(archive, LABELS_FILE, path), path) if LABELS_FILE in names else ()
        for key in ("serializedFile", "modelFile"):
            if model.get(key) and str(model[key]) not in names:
                raise FormatError(
                    f"{path}: {MANIFEST} names {reprlib.repr(model[key])} as {key}, which is not a file at the top of "
                    "the archive"
                )
    if not model.get("serializedFile"):
        raise FormatError(f"{path}: {MANIFEST} names no serializedFile, so there are no weights to import")
    return ModelArchive(
        path=path,
        name=str(model.get("modelName") or path.stem),
        handler=str(model.get("handler") or ""),
        serialized=str(model["serializedFile"]),
        model_file=str(model["modelFile"]) if model.get("modelFile") else None,
        labels=labels,
    )


def unpack(archive: ModelArchive, name: str, folder: Path) -> Path:
    """Unpack one file of the archive into `folder`."""
    with _opened(archive.path) as opened:
        return Path(opened.extract(name, folder))


def unpack_all(archive: ModelArchive, folder: Path) -> None:
    """Unpack the archive: a model's Python file may import its neighbours, and packages in folders.

    Raises:
        FormatError: a file would be written outside of `folder`.
    """
    with _opened(archive.path) as opened:
        for name in opened.namelist():
            if not is_relative_path(name.rstrip("/")):
                raise FormatError(f"{archive.path} holds {name[:80]!r}, which is not a path inside the archive")
        opened.extractall(folder)


def _plain_names(archive: zipfile.ZipFile) -> Iterator[str]:
    """Names of the files at the top, which TorchServe unpacks side by side."""
    return (name for name in archive.namelist() if PurePosixPath(name).name == name and name not in (".", ".."))


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive whose sizes were checked: no more of a file is unpacked than the archive's directory says.

    Raises:
        FormatError: not a zip, a damaged or unusual one, or one that is much larger unpacked.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_sizes(archive, path)
            yield archive
    except _DAMAGED as exc:
        raise FormatError(
            f"{path} is not a model archive ({one_line(exc)}): choose a .mar that torch-model-archiver made"
        ) from exc
    except OSError as exc:
        if exc.filename is None or Path(exc.filename) != path:
            raise
        raise FormatError(f"{path} cannot be read ({exc.strerror}): choose a .mar") from exc


def _check_sizes(archive: zipfile.ZipFile, path: Path) -> None:
    members = archive.infolist()
    odd = next((member for member in members if member.compress_type not in _COMPRESSIONS), None)
    if odd is not None:
        method = zipfile.compressor_names.get(odd.compress_type, odd.compress_type)  # type: ignore[attr-defined]
        raise FormatError(f"{path}: {odd.filename[:80]} is compressed by {method}; allowed are deflate and none")
    size_bytes, most_bytes = sum(member.file_size for member in members), _most_bytes(path)
    if size_bytes > most_bytes:
        raise FormatError(
            f"{path} has {format_bytes(path.stat().st_size)} and {format_bytes(size_bytes)} unpacked, more than "
            f"{format_bytes(most_bytes)}: weights do not shrink as much; make it again"
        )


def _most_bytes(path: Path) -> int:
    return _MOST_RATIO * path.stat().st_size + _FREE_BYTES


def _json(archive: zipfile.ZipFile, name: str, path: Path) -> dict[str, Any]:
    try:
        if archive.getinfo(name).file_size > _JSON_BYTES:
            raise FormatError(f"{path}: {name} has over {_JSON_BYTES} bytes")
        data = archive.read(name)
    except (KeyError, *_DAMAGED) as exc:
        raise FormatError(f"{path}: {name} is missing or damaged: was it made by torch-model-archiver?") from exc
    return from_json(dict, data, error=lambda found: FormatError(f"{path}: {name} is not a JSON object ({found})"))


def _labels(document: dict[str, Any], path: Path) -> tuple[str, ...]:
    """Class names, in order; TorchServe shows the last of several names, and an older form lists all under one key."""
    listed = document.get("object_type_names")
    names = listed if isinstance(listed, list) else [document.get(str(index)) for index in range(len(document))]
    labels = [name[-1] if isinstance(name, list) and name else name for name in names]
    if not all(isinstance(label, str) and label for label in labels):
        raise FormatError(f"{path}: {LABELS_FILE} must name the classes 0 to {len(names) - 1}, each with a text")
    return tuple(str(label) for label in labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """Options of `import_model`.

    Attributes:
        model: reference of the eager model, as `shardline build` takes it; None for that of a trusted archive.
        trust: True if code in the archive may be run.
        handler: handler with the same preprocessing, where the archive has a custom handler.
        picture, mean, std: preprocessing of the handler.
    """

    model: str | None = None
    trust: bool = False
    handler: str | None = None
    picture: PictureSpec = CLASSIFIER_PICTURE
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD


def import_model(archive: ModelArchive, options: ImportOptions) -> Model:
    """Load the archive's model with its weights, labels and preprocessing.

    Raises:
        FormatError: an unknown handler, code that must not be run without `trust`, or an archive that does not match
            its manifest.
        ModelError: the weights are not plain tensors, or do not fit the model.
    """
    _check_handler(archive, options.handler)
    with TemporaryDirectory() as scratch:
        if archive.kind == "torchscript":
            model = _from_torchscript(archive, options, Path(scratch))
        elif options.model is not None:
            model = load_model(options.model, str(_weights(archive, Path(scratch))))
        else:
            model = _from_own_class(archive, options, Path(scratch))
    return replace(
        model,
        reference=options.model or f"{archive.path.name}",
        weights=f"{archive.serialized} of {archive.path.name}",
        picture=options.picture,
        mean=options.mean,
        std=options.std,
        labels=archive.labels,
    )


def _check_handler(archive: ModelArchive, chosen: str | None) -> None:
    found = chosen or archive.handler_name
    if found == IMAGE_CLASSIFIER:
        return
    own = archive.handler_name.endswith(".py")
    remedy = (
        f"if its preprocessing is that of {IMAGE_CLASSIFIER}, add --handler {IMAGE_CLASSIFIER} (with --size, --mean … "
        "where they differ), else follow docs/moving-from-torchserve.md"
        if own
        else "this command imports image classifiers only"
    )
    raise FormatError(f"{archive.path} has the handler {found!r}; allowed is {IMAGE_CLASSIFIER}: {remedy}")


def _weights(archive: ModelArchive, scratch: Path) -> Path:
    """Unpack the state dict under a name with a known suffix, so that it is read as plain tensors."""
    return unpack(archive, archive.serialized, scratch).rename(scratch / "weights.pt")


def _from_own_class(archive: ModelArchive, options: ImportOptions, scratch: Path) -> Model:
    assert archive.model_file is not None
    if not options.trust:
        raise FormatError(
            f"{archive.path} has its model's code in {archive.model_file}, which would be run: name the model yourself "
            "(--model torchvision:resnet18 or package.module:factory), or add --trust if you trust the archive"
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


def _only_class(name: str, archive: ModelArchive) -> str:
    """Name of the only model class in the file, which TorchServe would use."""
    with users_code(f"{archive.path}: {archive.model_file} cannot be imported: it"):
        module = importlib.import_module(name)
    classes = [
        class_name
        for class_name, member in inspect.getmembers(module, inspect.isclass)
        if member.__module__ == name and issubclass(member, nn.Module)
    ]
    if len(classes) != 1:
        raise FormatError(
            f"{archive.path}: {archive.model_file} has the models {', '.join(classes) or 'none'}; TorchServe takes "
            "exactly one: name it with --model package.module:factory"
        )
    return classes[0]


def _from_torchscript(archive: ModelArchive, options: ImportOptions, scratch: Path) -> Model:
    if options.model is not None:
        raise FormatError(f"{archive.path} is TorchScript, which holds the model too: leave --model out")
    if not options.trust:
        raise FormatError(
            f"{archive.path} is TorchScript, which is a program: add --trust if you trust the archive, or build a "
            "bundle from the model and its weights with shardline build"
        )
    path = unpack(archive, archive.serialized, scratch)
    try:
        module = _converted(load_torchscript(path).eval(), options.picture)
    except Exception as exc:  # a loader and a converter of many parts: they raise whatever they like
        raise FormatError(
            f"{archive.path}: {archive.serialized} cannot be converted to an exported program ({one_line(exc)}): build "
            "the bundle from the model's Python and its weights, see docs/moving-from-torchserve.md"
        ) from exc
    return Model(
        reference=archive.path.name,
        weights=archive.serialized,
        module=module,
        picture=options.picture,
        mean=options.mean,
        std=options.std,
    )


def _converted(script: torch.jit.ScriptModule, picture: PictureSpec) -> nn.Module:
    from torch._export.converter import TS2EPConverter  # slow, and torch's own: it has no public name

    example = torch.zeros(_TRACED_BATCH, 3, picture.height, picture.width)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch warns about its own internals
        return runnable(TS2EPConverter(script, (example,)).convert())
