"""What `shardline evaluate` runs in this process: a bundle's chain and its whole, one program, or a model."""

from pathlib import Path
from typing import TYPE_CHECKING

from shardline.predictors.picture import fit_picture
from shardline.storage.bundle import BUNDLE_FILE, WHOLE_FILE, Bundle, PictureSpec
from shardline.storage.bundle_folder import open_bundle
from shardline.training.evaluation.sources import Fit, Pixels, Program, Run
from shardline.wire.errors import BundleError
from shardline.wire.limits import Limits
from shardline.wire.view import View

if TYPE_CHECKING:
    from shardline.partition.models import Model

PROGRAM = ".pt2"


def is_bundle(path: Path) -> bool:
    return (path / BUNDLE_FILE).is_file()


def is_program(path: Path) -> bool:
    return path.suffix == PROGRAM and path.is_file()


def open_bundle_programs(folder: Path, task: str, program: str) -> list[Program]:
    """A bundle's chain, as it would be served, and its whole.

    Raises:
        BundleError: as `open_chain`.
    """
    return [open_chain(folder, task, program), _open_whole(folder, task)]


def open_chain(folder: Path, task: str, program: str) -> Program:
    """All shards of a bundle in this process, every hop through a frame, as `verify` runs them.

    Args:
        task: that the bundle must be for.
        program: as of shardline.partition.runtime.load_shard.

    Raises:
        BundleError: naming what is missing or altered, or is for another task, or has no compiled program for this
            machine.
    """
    from shardline.partition.verify import load_shards, run_shards

    bundle = bundle_for(folder, task)
    shards = load_shards(folder, program)
    name = f"{folder.name}: {_stages(bundle)}{', compiled' if shards[0].is_compiled else ''}"
    return _of_bundle(name, bundle, lambda pixels: run_shards(shards, pixels)[-1])


def open_program(path: Path, task: str) -> Program:
    """An exported program; how its pictures are made stands in the bundle that it lies in, if it does.

    Raises:
        BundleError, ModelError: it cannot be loaded.
    """
    if is_bundle(path.parent):
        return _open_whole(path.parent, task)
    from shardline.partition.models import load_model
    from shardline.training.models import for_task

    return open_loaded(path.name, for_task(load_model(str(path)), task))


def open_loaded(name: str, model: "Model") -> Program:
    from shardline.partition.capture import whole_module
    from shardline.training.evaluation.programs import run_module

    run = run_module(whole_module(model))
    return Program(name=name, fit=_fit(model.picture, Limits()), run=run, labels=tuple(model.labels))


def _open_whole(folder: Path, task: str) -> Program:
    from shardline.partition.program import runnable
    from shardline.partition.runtime import load_program
    from shardline.training.evaluation.programs import run_module

    bundle = bundle_for(folder, task)
    run = run_module(runnable(load_program(folder / WHOLE_FILE)))
    return _of_bundle(f"{folder.name}: whole", bundle, run)


def bundle_for(folder: Path, task: str) -> Bundle:
    """
    Raises:
        BundleError: a file is missing or altered, or it is for another task.
    """
    bundle = open_bundle(folder)
    if bundle.task.name != task:
        raise BundleError(f"{folder} is a bundle for the task {bundle.task.name!r}: name one of `{task}`")
    return bundle


def _stages(bundle: Bundle) -> str:
    count = len(bundle.stages)
    return f"{count} {'shard' if count == 1 else 'shards'}, {bundle.precision}"


def _of_bundle(name: str, bundle: Bundle, run: Run) -> Program:
    return Program(name=name, fit=_fit(bundle.picture, bundle.limits), run=run, labels=bundle.task.labels)


def _fit(spec: PictureSpec, limits: Limits) -> Fit:
    def fit(picture: bytes) -> tuple[Pixels, View]:
        fitted = fit_picture(picture, spec, limits)
        return fitted.pixels[None], fitted.view

    return fit
