"""Cut a PyTorch vision model into shards and serve each as its own KServe InferenceService.

    import shardline

    captured = shardline.capture("torchvision:resnet50", weights="random:0")
    plan = shardline.plan(captured, stages=3)
    bundle = shardline.build(captured, "bundles/resnet50", plan=plan)

Each name is imported when it is first used, so that `import shardline` loads neither torch nor numpy. docs/python.md is
the tour.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shardline.api import CapturedModel, ModelPlan, build, capture, plan, verify
    from shardline.client.api import Client
    from shardline.client.predictor import RequestOptions
    from shardline.client.target import Reply
    from shardline.documents import lint, render
    from shardline.storage.bundle import Bundle
    from shardline.storage.bundle_folder import open_bundle
    from shardline.wire.errors import ShardlineError

__version__ = "0.1.0"
__all__ = [
    "Bundle",
    "CapturedModel",
    "Client",
    "ModelPlan",
    "Reply",
    "RequestOptions",
    "ShardlineError",
    "__version__",
    "build",
    "capture",
    "lint",
    "open_bundle",
    "plan",
    "render",
    "verify",
]

_MODULES = {
    "shardline.api": ("CapturedModel", "ModelPlan", "build", "capture", "plan", "verify"),
    "shardline.client.api": ("Client",),
    "shardline.client.predictor": ("RequestOptions",),
    "shardline.client.target": ("Reply",),
    "shardline.documents": ("lint", "render"),
    "shardline.storage.bundle": ("Bundle",),
    "shardline.storage.bundle_folder": ("open_bundle",),
    "shardline.wire.errors": ("ShardlineError",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
