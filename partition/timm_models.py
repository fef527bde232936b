"""Models of timm by their names there, with the preprocessing and the labels of their pretrained weights."""

from collections.abc import Mapping
from difflib import get_close_matches
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from torch import nn

from shardline.partition.imagenet import IMAGENET_CLASSES, imagenet_labels
from shardline.partition.preprocessing import Preprocessing, from_timm
from shardline.partition.program import one_line
from shardline.wire.errors import MissingPackageError, ModelError, UsageError

_IMAGENET = "imagenet-1k"  # timm's name of the 1000 classes


def build_timm(name: str, arguments: Mapping[str, Any], *, pretrained: bool) -> nn.Module:
    """Build timm's model `name`, such as "resnet50" or "resnet50.a1_in1k", with arguments for its builder.

    Args:
        pretrained: download timm's weights, or take them from its cache.

    Raises:
        MissingPackageError: timm is not installed.
        UsageError: timm has no such model.
        ModelError: timm does not build it, or its weights cannot be downloaded.
    """
    timm = _timm()
    if not timm.is_model(name):
        raise UsageError(f"timm has no model {name!r}{_alternatives(timm, name)}; see timm.list_models()")
    if pretrained and not timm.is_model_pretrained(name):
        raise ModelError(f"timm has no weights for {name}: give --weights FILE.safetensors or random:SEED")
    try:
        module: nn.Module = timm.create_model(name, pretrained=pretrained, **arguments)
    except OSError as exc:
        raise ModelError(
            f"timm:{name}: the pretrained weights could not be downloaded ({one_line(exc)}); give --weights "
            "FILE.safetensors or random:SEED"
        ) from exc
    except Exception as exc:  # each builder checks its arguments in its own way
        raise ModelError(f"timm:{name}: timm does not build it: {one_line(exc)}") from exc
    return module


def timm_preprocessing(module: nn.Module, arguments: Mapping[str, Any]) -> Preprocessing:
    """Preprocessing of a model built by timm; the argument `img_size` of its builder sets the size."""
    found: Any = module.pretrained_cfg
    config = dict(found)
    size = arguments.get("img_size")
    if size is not None:
        height, width = (size, size) if isinstance(size, int) else size
        config["input_size"] = (3, height, width)
    return from_timm(config)


def timm_labels(module: nn.Module) -> tuple[str, ...]:
    """Names of the classes of a model built by timm: ImageNet's 1000, or none where it has other classes."""
    from timm.data.imagenet_info import infer_imagenet_subset

    is_imagenet = module.num_classes == IMAGENET_CLASSES and infer_imagenet_subset(module) == _IMAGENET
    return imagenet_labels() if is_imagenet else ()


def is_timm_model(name: str) -> bool:
    """Tell whether timm is installed and has a model of that name."""
    return find_spec("timm") is not None and bool(_timm().is_model(name))


def imagenet_wordnet_ids() -> tuple[str, ...]:
    """WordNet ids of ImageNet's 1000 classes, such as "n01440764", in the order of its models.

    Raises:
        MissingPackageError: timm, which has the list, is not installed.
    """
    _timm()
    from timm.data.imagenet_info import ImageNetInfo

    return tuple(ImageNetInfo(_IMAGENET).label_names())


def _timm() -> ModuleType:
    try:
        import timm
    except ImportError as exc:
        raise MissingPackageError("timm is not installed: pip install 'shardline[timm]'") from exc
    return timm


def _alternatives(timm: ModuleType, name: str) -> str:
    close = get_close_matches(name, timm.list_models(), 3)
    return f": did you mean {' or '.join(close)}?" if close else ""
