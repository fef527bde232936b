"""Models that an evaluation runs in this process: the shards of a bundle, its whole, an exported program or a module.

torch is imported only when a model is opened: an evaluation of a served chain does without it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shardline.partition.compare import Outputs
from shardline.predictors.picture import fit_picture
from shardline.storage.bundle import BUNDLE_FILE, WHOLE_FILE, Bundle, PictureSpec
from shardline.storage.bundle_folder import open_bundle
from shardline.wire.errors import BundleError, UsageError
from shardline.wire.limits import Limits
from shardline.wire.typed import Scalar
from shardline.wire.view import View

if TYPE_CHECKING:
    from torch import nn

    from shardline.partition.models import Model

PROGRAM_SUFFIX = ".pt2"

Pixels = NDArray[np.uint8]  # [1, channels, height, width]
Fit = Callable[[bytes], tuple[Pixels, View]]  # a picture's bytes -> the network's input, as the transformer makes it
Run = Callable[[Pixels], Outputs]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalModel:
    """A model, or a chain of shards, that runs one picture at a time, as a stage does.

    `input_size` is the height and width of its input in pixels.
    """

    name: str
    fit: Fit
    run: Run
    input_size: tuple[int, int]
    labels: tuple[str, ...] = ()
    options: Mapping[str, Scalar] = field(default_factory=dict)


def is_bundle(path: Path) -> bool:
    return (path / BUNDLE_FILE).is_file()


def is_program(path: Path) -> bool:
    return path.suffix == PROGRAM_SUFFIX and path.is_file()


def open_models(path: Path, task: str, program: str) -> list[LocalModel]:
    """Open a bundle's chain and its whole, or an exported program.

    Raises:
        UsageError: the path is neither of them.
        BundleError, ModelError: it cannot be loaded.
    """
    if is_bundle(path):
        return open_bundle_models(path, task, program)
    if is_program(path):
        return [open_program(path, task)]
    raise UsageError(f"{path} is not the folder of a bundle or an exported program (.pt2): name one")


def open_bundle_models(folder: Path, task: str, program: str) -> list[LocalModel]:
    """Open the chain of a bundle, as it would be served, and its whole.

    Raises:
        BundleError: as `open_chain`.
    """
    return [open_chain(folder, task, program), _open_whole(folder, task)]


def open_chain(folder: Path, task: str, program: str) -> LocalModel:
    """Open all shards of a bundle in this process, with a frame between each two, as `verify` runs them.

    Args:
        task: the task that the bundle must be for.
        program: as of shardline.partition.runtime.load_shard.

    Raises:
        BundleError: a file is missing or altered, the bundle is for another task, or it has no compiled program for
            this machine.
    """
    from shardline.partition.verify import load_shards, run_shards

    bundle = read_bundle_for(folder, task)
    shards = load_shards(folder, program)
    count = len(bundle.stages)
    name = f"{folder.name}: {count} {'shard' if count == 1 else 'shards'}, {bundle.precision}"
    if shards[0].is_compiled:
        name += ", compiled"
    return _from_bundle(name, bundle, lambda pixels: run_shards(shards, pixels)[-1])


def open_program(path: Path, task: str) -> LocalModel:
    """Open an exported program. If it lies in a bundle, that one says how its pictures are prepared.

    Raises:
        BundleError, ModelError: it cannot be loaded.
    """
    if is_bundle(path.parent):
        return _open_whole(path.parent, task)
    from shardline.partition.models import load_model
    from shardline.training.models import for_task

    return open_model(path.name, for_task(load_model(str(path)), task))


def open_model(name: str, model: "Model") -> LocalModel:
    from shardline.partition.capture import whole_module

    run = run_module(whole_module(model))
    fit, size = _fit(model.picture, Limits()), (model.picture.height, model.picture.width)
    return LocalModel(name=name, fit=fit, run=run, input_size=size, labels=model.labels, options=model.task_options)


def _open_whole(folder: Path, task: str) -> LocalModel:
    from shardline.partition.archive import load_program
    from shardline.partition.program import runnable

    bundle = read_bundle_for(folder, task)
    return _from_bundle(f"{folder.name}: whole", bundle, run_module(runnable(load_program(folder / WHOLE_FILE))))


def read_bundle_for(folder: Path, task: str) -> Bundle:
    """
    Raises:
        BundleError: a file is missing or altered, or the bundle is for another task.
    """
    bundle = open_bundle(folder)
    if bundle.task.name != task:
        raise BundleError(f"{folder} is a bundle for the task {bundle.task.name!r}: name one of `{task}`")
    if bundle.inputs:
        names = ", ".join(spec.name for spec in bundle.inputs)
        raise BundleError(f"{folder} takes {names} beside the picture, which a folder of pictures does not have")
    return bundle


def run_module(module: "nn.Module") -> Run:
    """Wrap a module that takes uint8 [batch, channels, height, width] and gives tensors, however nested.

    The outputs are named output_0, output_1 and so on, in the order of the flattened result.
    """
    import torch
    from torch.utils._pytree import tree_leaves

    from shardline.partition.guard import users_code

    def run(pixels: Pixels) -> Outputs:
        with users_code("the model"), torch.inference_mode():
            outputs: list[Any] = tree_leaves(module(torch.from_numpy(pixels)))
        return {f"output_{number}": np.asarray(value) for number, value in enumerate(outputs)}

    return run


def _from_bundle(name: str, bundle: Bundle, run: Run) -> LocalModel:
    task, picture = bundle.task, bundle.picture
    fit, size = _fit(picture, bundle.limits), (picture.height, picture.width)
    return LocalModel(name=name, fit=fit, run=run, input_size=size, labels=task.labels, options=task.options)


def _fit(spec: PictureSpec, limits: Limits) -> Fit:
    def fit(picture: bytes) -> tuple[Pixels, View]:
        fitted = fit_picture(picture, spec, limits)
        return fitted.pixels[None], fitted.view

    return fit
