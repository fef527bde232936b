"""Line that describes a model's preprocessing and scores, with the origin of each setting."""

from collections.abc import Sequence
from itertools import groupby

from shardline.partition.models import Model
from shardline.partition.preprocessing import ASSUMED


def preprocessing_line(model: Model) -> str:
    """Describe a model's pictures and scores in one line: the settings, and in brackets the origin of those before."""
    picture = model.picture
    resized = "" if picture.resize is None else f" from {picture.resize}"
    settings = [
        (f"{picture.height}x{picture.width}", "size"),
        (f"{picture.fit}{resized}", "fit"),
        (picture.interpolation, "interpolation"),
        (picture.mode, "mode"),
    ]
    if not model.takes_pixels:
        settings += [(f"{name} {_written(getattr(model, name))}", name) for name in ("mean", "std")]
    if model.task == "classify":
        settings.append((f"scores {model.task_options.get('scores', 'logits')}", "scores"))
    by_origin = groupby(settings, key=lambda setting: model.origins.get(setting[1], ASSUMED))
    described = [f"{', '.join(text for text, _ in group)} ({origin})" for origin, group in by_origin]
    return f"pictures: {', '.join(described)}"


def _written(values: Sequence[float]) -> str:
    return ",".join(f"{value:.4g}" for value in values)
