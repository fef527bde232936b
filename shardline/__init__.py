"""Shardline: cut a PyTorch vision model into shards and serve each as its own KServe InferenceService."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shardline.api import build, capture, plan

__version__ = "0.1.0"
__all__ = ["__version__", "build", "capture", "plan"]

_HOMES = {"build": "shardline.api", "capture": "shardline.api", "plan": "shardline.api"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import shardline` stays light."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
