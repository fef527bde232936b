"""Preprocessing that a model states itself, and the check of means and deviations."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shardline.storage.bundle import PictureSpec
from shardline.wire.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

MODEL, OPTION, ASSUMED = "the model's", "an option", "assumed"
_SETTINGS = ("size", "fit", "interpolation", "mode", "mean", "std")
_WHITE = 255  # of 8-bit pixels
_INTERPOLATIONS = ("bilinear", "bicubic")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """Preprocessing of a model's pictures; `mean` and `std` are of each channel, for pixels from 0 to 1.

    `origins` gives the source of each setting, as `shardline.partition.models.Model` has it.
    """

    picture: PictureSpec
    mean: tuple[float, ...]
    std: tuple[float, ...]
    origins: Mapping[str, str]


def own_preprocessing(module: "nn.Module") -> Preprocessing | None:
    """Preprocessing that a module carries; None where it carries none.

    It is timm's configuration in `pretrained_cfg` or `default_cfg`, or the `transforms` of torchvision's weights.
    """
    for name in ("pretrained_cfg", "default_cfg"):
        found = getattr(module, name, None)
        config = found if isinstance(found, Mapping) else getattr(found, "__dict__", {})
        if "input_size" in config:
            return from_timm(config)
    transforms = getattr(module, "transforms", None)
    preset = transforms() if isinstance(transforms, type) else transforms
    return from_preset(preset) if hasattr(preset, "crop_size") and hasattr(preset, "resize_size") else None


def from_preset(preset: Any) -> Preprocessing:
    """Preprocessing of torchvision's preset for classification."""
    height, width = _sides(preset.crop_size)
    return Preprocessing(
        picture=PictureSpec(
            height=height,
            width=width,
            fit="crop",
            resize=_sides(preset.resize_size)[0],
            interpolation=preset.interpolation.value,
        ),
        mean=_channels(preset.mean),
        std=_channels(preset.std),
        origins=dict.fromkeys(_SETTINGS, MODEL),
    )


def from_timm(config: Mapping[str, Any]) -> Preprocessing:
    """Preprocessing of timm's configuration of pretrained weights.

    timm's crop modes: "center" is a crop; "squash" stretches the picture, and "border" pads it. Where timm cuts off a
    margin after stretching, or pads with the mean, `origins["fit"]` says that this is approximated.
    """
    _, height, width = config["input_size"]
    share = config.get("crop_pct") or 0.875
    mode = config.get("crop_mode") or "center"
    fit, resize, fit_origin = "crop", math.floor(min(height, width) / share), MODEL
    if mode == "squash":
        fit, resize, fit_origin = (
            "stretch",
            None,
            MODEL if share == 1 else f"the model's, without its crop of {share:g}",
        )
    elif mode == "border":
        fit, resize, fit_origin = "letterbox", None, "the model's, padded with grey instead of the mean"
    given = config.get("interpolation")
    interpolation = given if given in _INTERPOLATIONS else "bicubic"
    return Preprocessing(
        picture=PictureSpec(height=height, width=width, fit=fit, resize=resize, interpolation=interpolation),
        mean=_channels(config["mean"]),
        std=_channels(config["std"]),
        origins={
            **dict.fromkeys(_SETTINGS, MODEL),
            "fit": fit_origin,
            "interpolation": MODEL if interpolation == given else f"assumed, for the model's {given}",
        },
    )


def check_channels(mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
    """Check that mean and standard deviation are for pixels from 0 to 1; None is not checked.

    Raises:
        UsageError: a mean outside -1 to 1 or a deviation above 1: they are for pixels from 0 to 255.
    """
    for name, values in (("mean", mean), ("std", std)):
        if values is not None and any(abs(value) > 1 for value in values):
            scaled = ",".join(f"{value / _WHITE:.3g}" for value in values)
            raise UsageError(
                f"--{name} {','.join(f'{value:g}' for value in values)}: pixels are scaled to 0 to 1 before they are "
                f"normalised, and {name} must be at most 1; for pixels from 0 to {_WHITE}, write --{name} {scaled}"
            )


def _sides(size: Any) -> tuple[int, int]:
    """Height and width of a preset's size, a number or a list of one or two."""
    sides = [size] if isinstance(size, int) else list(size)
    return sides[0], sides[-1]


def _channels(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
