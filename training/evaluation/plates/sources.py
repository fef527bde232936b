"""Data sources of a plate evaluation: detectors in this process, and served chains.

A detector in this process gives tensors, of which boxes and plates are read here; a served chain gives plates alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from shardline.client.pictures import upright_size
from shardline.client.plates import Plate
from shardline.client.plates import read_plates as read_reply
from shardline.client.tiling import Tiling, find_plates_in
from shardline.partition.compare import Outputs
from shardline.predictors.picture import fit_picture
from shardline.storage.bundle import PictureSpec
from shardline.tasks.plates.grammar import OPTION, PlateGrammar, built_in, option_grammar
from shardline.tasks.plates.task import read_plates
from shardline.training.evaluation.in_process import (
    LocalModel,
    is_bundle,
    is_program,
    open_bundle_models,
    open_chain,
    open_model,
    open_program,
)
from shardline.training.evaluation.served import ServedChain
from shardline.wire.errors import ModelError, PictureError, UsageError
from shardline.wire.limits import PLATE_INPUT_SIDE, Limits
from shardline.wire.view import View

if TYPE_CHECKING:
    from shardline.training.detector.model import PlateDetector
    from shardline.training.evaluation.plates.readings import RawPlate

TASK = "plates"
WEIGHTS_SUFFIX, CHECKPOINT_SUFFIX = ".safetensors", ".pt"
LEAST_SCORE = 0.05  # of plates for the calibration, far below the threshold, to show whether that is well chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatePrediction:
    """Prediction for one picture.

    Attributes:
        view: where the picture lies in the network's input.
        outputs: the detector's own, where they are known.
        plates: those that reach the threshold.
        unsure: those that reach LEAST_SCORE, or the threshold where others are unknown.
        passes: number of times that the network ran.
    """

    view: View
    outputs: Outputs | None
    plates: "Sequence[RawPlate]"
    unsure: "Sequence[RawPlate]"
    passes: int = 1


class PlateSource(Protocol):
    """Finds and reads the plates in a picture."""

    @property
    def name(self) -> str: ...

    def predict(self, picture: bytes, threshold: float) -> PlatePrediction:
        """
        Raises:
            ShardlineError: the picture or the source is at fault.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalPlateReader:
    """A detector in this process. Its outputs are read by the code of the last shard."""

    model: LocalModel

    @property
    def name(self) -> str:
        return self.model.name

    def predict(self, picture: bytes, threshold: float) -> PlatePrediction:
        pixels, view = self.model.fit(picture)
        outputs, grammar = self.model.run(pixels), option_grammar(self.model.options)
        return PlatePrediction(
            view=view,
            outputs=outputs,
            plates=read_plates(outputs, view, threshold, grammar=grammar),
            unsure=read_plates(outputs, view, min(LEAST_SCORE, threshold), grammar=grammar),
        )


class ServedPlateReader:
    """A chain that is served at a URL. It replies with plates from the threshold on, without tensors."""

    def __init__(self, url: str, size: int | None) -> None:
        self.name = url
        self._chain = ServedChain(url)
        self._spec = PictureSpec(height=size or PLATE_INPUT_SIDE, width=size or PLATE_INPUT_SIDE, fit="letterbox")

    def predict(self, picture: bytes, threshold: float) -> PlatePrediction:
        """
        Raises:
            PredictorError: it does not answer, or with something else than plates.
        """
        found = self._chain.predict(picture, {"threshold": threshold}, read_reply, "plates")
        plates = [plate.reported for plate in found]
        view = fit_picture(picture, self._spec, Limits()).view
        return PlatePrediction(view=view, outputs=None, plates=plates, unsure=plates)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefiningPlateReader:
    """A source that is run again on crops of a large picture, as the client does (client/tiling.py).

    The boxes of classes are those of the first pass.
    """

    source: PlateSource
    tiling: Tiling

    @property
    def name(self) -> str:
        return f"{self.source.name}, {self.tiling}"

    def predict(self, picture: bytes, threshold: float) -> PlatePrediction:
        """
        Raises:
            ShardlineError: as the source.
        """
        passes: list[PlatePrediction] = []

        def ask(crop: bytes, score: float) -> list[Plate]:
            passes.append(self.source.predict(crop, score))
            return read_reply(passes[-1].plates) or []

        size = upright_size(picture)
        if size is None:
            raise PictureError("not a picture that can be read")
        found = [
            plate.reported for plate in find_plates_in(picture, size, ask, tiling=self.tiling, threshold=threshold)
        ]
        return replace(passes[0], plates=found, unsure=found, passes=len(passes))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateSources:
    """Factory of the data sources.

    Attributes:
        size: side length of the network's input, for weights alone and for a served chain; None: 512.
        program: selects the shards of a bundle: "portable", "compiled" or "auto".
        grammar: of the pictures, which must be the detector's.
        tiling: "once" runs on the whole picture, "twice" and "tiles" again on crops of large ones.
    """

    size: int | None
    program: str
    tiling: Tiling
    grammar: PlateGrammar = field(default_factory=built_in)

    def served(self, url: str) -> PlateSource:
        return self._refining(ServedPlateReader(url, self.size))

    def open_source(self, model: Path | None) -> Sequence[PlateSource]:
        """None is the detector with the weights that ship.

        Raises:
            UsageError: the path is none of those that are allowed.
            BundleError, ModelError: the model cannot be loaded.
        """
        return [self._reader(local) for local in self._models(model)]

    def chain(self, bundle: Path) -> PlateSource:
        return self._reader(open_chain(bundle, TASK, self.program))

    def _reader(self, model: LocalModel) -> PlateSource:
        """
        Raises:
            UsageError: the detector is for another grammar than the pictures.
        """
        if option_grammar(model.options) != self.grammar:
            raise UsageError(
                f"{model.name} is for the grammar {option_grammar(model.options).name}, and the pictures are of "
                f"{self.grammar.name}: give --grammar with the file that it was trained with"
            )
        return self._refining(LocalPlateReader(model=model))

    def _refining(self, source: PlateSource) -> PlateSource:
        return source if self.tiling == "once" else RefiningPlateReader(source=source, tiling=self.tiling)

    def _of_pictures(self, model: LocalModel) -> LocalModel:
        """A model that says nothing of its grammar, with that of the pictures."""
        return model if self.grammar.is_built_in else replace(model, options={OPTION: self.grammar.source})

    def _models(self, model: Path | None) -> list[LocalModel]:
        if model is None:
            from shardline.training.models import load_by_name

            return [open_model("the detector that ships", load_by_name("plates", None, self.size))]
        if is_bundle(model):
            return open_bundle_models(model, TASK, self.program)
        if is_program(model):
            return [self._of_pictures(open_program(model, TASK))]
        if model.suffix in (WEIGHTS_SUFFIX, CHECKPOINT_SUFFIX) and model.is_file():
            return [_open_weights(model, self.size or PLATE_INPUT_SIDE, self.grammar)]
        raise UsageError(
            f"{model} is not the folder of a bundle, an exported program (.pt2), weights ({WEIGHTS_SUFFIX}) or a "
            f"checkpoint ({CHECKPOINT_SUFFIX}): name one"
        )


def _open_weights(path: Path, size: int, grammar: PlateGrammar) -> LocalModel:
    from shardline.training.models import load_by_name

    if path.suffix == CHECKPOINT_SUFFIX:
        options = {} if grammar.is_built_in else {OPTION: grammar.source}
        plain = load_by_name("plates", "random:0", size)
        model = replace(plain, module=_from_checkpoint(path, grammar), task_options=options)
    else:
        model = load_by_name("plates", str(path), size)
    return open_model(path.name, model)


def _from_checkpoint(path: Path, grammar: PlateGrammar) -> "PlateDetector":
    """The detector of a training's checkpoint, with its averaged weights.

    Raises:
        ModelError: it is not a checkpoint, or of another model.
    """
    from shardline.partition.program import one_line
    from shardline.training.checkpoint import load_checkpoint
    from shardline.training.detector.layers import fold_normalisation
    from shardline.training.detector.model import PlateDetector

    trained = PlateDetector(normed=True, grammar=grammar)
    try:
        trained.load_state_dict(load_checkpoint(path).average)
    except RuntimeError as exc:
        raise ModelError(f"{path} is a checkpoint of another model: {one_line(exc)}") from exc
    return fold_normalisation(trained, PlateDetector(grammar=grammar))
