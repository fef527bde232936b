"""What `shardline evaluate plates` asks: a bundle's chain and its whole, one program, weights, or a served chain."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from client.fit import fit_body
from client.look import Look
from client.parts import find_plates_in
from client.plates import Plate, plates_in, read_plates
from client.target import Target
from client.upright import upright_size
from predictors.picture import fit_picture
from storage.bundle import BUNDLE_FILE, WHOLE_FILE, Bundle, PictureSpec
from storage.bundle_folder import read_bundle
from training.evaluation.sources import Fit, Pixels, Program, Run, Seen, Source
from wire.errors import BundleError, ModelError, PictureError, PredictorError
from wire.limits import REQUEST_BYTES, Limits
from wire.view import View

if TYPE_CHECKING:
    from partition.models import Model

WEIGHTS, CHECKPOINT = ".safetensors", ".pt"
INPUT_SIDE = 512  # what the detector is trained with, and what a served chain is taken to have


def open_model(model: Path | None, size: int | None, program: str) -> list[Source]:
    """The sources that a MODEL stands for: of a bundle its chain, as it would be served, and its whole.

    Args:
        model: None is the detector with the weights that ship.
        size: of the network's input, for weights alone.
        program: of a bundle's shards, "portable", "compiled" or "auto".

    Raises:
        BundleError, ModelError: it is none of these, or cannot be loaded.
    """
    from shardline.models import load_by_name

    if model is None:
        return [_of_model("the detector that ships", load_by_name("plates", None, size))]
    if (model / BUNDLE_FILE).is_file():
        return [open_chain(model, program), _open_whole(model)]
    if model.suffix == ".pt2" and model.is_file():
        return [_open_program(model)]
    if model.suffix in (WEIGHTS, CHECKPOINT) and model.is_file():
        return [_open_weights(model, size or INPUT_SIDE)]
    raise ModelError(
        f"{model} is no bundle's folder, exported program (.pt2), weights ({WEIGHTS}) or checkpoint ({CHECKPOINT}): "
        "name one"
    )


def open_chain(folder: Path, program: str) -> Source:
    """All shards of a bundle in this process, every hop through a frame, as `verify` runs them.

    Args:
        program: as of partition.runtime.load_shard.

    Raises:
        BundleError: naming what is missing or altered, or has no compiled program for this machine.
    """
    from partition.verify import load_shards, run_shards

    bundle = _plates_bundle(folder)
    shards = load_shards(folder, program)
    name = f"{folder.name}: {_stages(bundle)}{', compiled' if shards[0].is_compiled else ''}"
    return _program(name, bundle.picture, bundle.limits, lambda pixels: run_shards(shards, pixels)[-1])


def _stages(bundle: Bundle) -> str:
    count = len(bundle.stages)
    return f"{count} {'shard' if count == 1 else 'shards'}, {bundle.precision}"


def _open_whole(folder: Path) -> Source:
    from partition.program import runnable
    from partition.runtime import load_program
    from training.evaluation.programs import run_module

    bundle = _plates_bundle(folder)
    run = run_module(runnable(load_program(folder / WHOLE_FILE)))
    return _program(f"{folder.name}: whole", bundle.picture, bundle.limits, run)


def _plates_bundle(folder: Path) -> Bundle:
    bundle = read_bundle(folder)
    if bundle.task.name != "plates":
        raise BundleError(f"{folder} is a bundle for the task {bundle.task.name!r}: name one of `plates`")
    return bundle


def _open_program(path: Path) -> Source:
    """A whole; how its pictures are made stands in the bundle that it lies in, if it does."""
    if (path.parent / BUNDLE_FILE).is_file():
        return _open_whole(path.parent)
    from partition.models import load_model

    return _of_model(path.name, load_model(str(path)))


def _open_weights(path: Path, size: int) -> Source:
    """Weights, which a checkpoint of a training holds too: the averaged ones."""
    from shardline.models import load_by_name
    from training.evaluation.programs import from_checkpoint

    if path.suffix == CHECKPOINT:
        return _of_model(path.name, replace(load_by_name("plates", "random:0", size), module=from_checkpoint(path)))
    return _of_model(path.name, load_by_name("plates", str(path), size))


def _of_model(name: str, model: "Model") -> Source:
    from partition.capture import whole_module
    from training.evaluation.programs import run_module

    spec = _letterbox(model.picture.height, model.picture.width)
    return _program(name, spec, Limits(), run_module(whole_module(model)))


def _letterbox(height: int, width: int) -> PictureSpec:
    return PictureSpec(height=height, width=width, fit="letterbox")


def _program(name: str, picture: PictureSpec, limits: Limits, run: Run) -> Source:
    return Program(name=name, fit=_fit(picture, limits), run=run)


def _fit(spec: PictureSpec, limits: Limits) -> Fit:
    def fit(picture: bytes) -> tuple[Pixels, View]:
        fitted = fit_picture(picture, spec, limits)
        return fitted.pixels[None], fitted.view

    return fit


class Served:
    """A chain that answers at a URL. It gives plates alone, those from the threshold on."""

    def __init__(self, url: str, size: int | None) -> None:
        self.name = url
        self._target = Target(url)
        self._spec = _letterbox(size or INPUT_SIDE, size or INPUT_SIDE)

    def look(self, picture: bytes, threshold: float) -> Seen:
        """
        Raises:
            PredictorError: it does not answer, or with something else than plates.
        """
        body = fit_body(picture, {"threshold": threshold}, REQUEST_BYTES)
        predictions = self._target.ask(body).predictions
        found = plates_in(predictions)
        if found is None:
            start = str(list(predictions))[:120]
            raise PredictorError(f"{self.name} replies with something else than plates: {start}", status=502)
        said = [plate.said for plate in found]
        view = fit_picture(picture, self._spec, Limits()).view
        return Seen(view=view, outputs=None, plates=said, unsure=said)


@dataclass(frozen=True, slots=True, kw_only=True)
class Closer:
    """A source that looks again, at parts of a picture, as the client does (client/look.py).

    Boxes of classes are those of the first look.
    """

    source: Source
    how: Look

    @property
    def name(self) -> str:
        return f"{self.source.name}, {self.how}"

    def look(self, picture: bytes, threshold: float) -> Seen:
        """
        Raises:
            ShardlineError: as the source.
        """
        looks: list[Seen] = []

        def ask(part: bytes, score: float) -> list[Plate]:
            looks.append(self.source.look(part, score))
            return read_plates(looks[-1].plates) or []

        size = upright_size(picture)
        if size is None:
            raise PictureError("no picture that can be read")
        found = [plate.said for plate in find_plates_in(picture, size, ask, look=self.how, threshold=threshold)]
        return replace(looks[0], plates=found, unsure=found, passes=len(looks))
