"""What `shardline evaluate plates` asks: a bundle's chain and its whole, one program, weights, or a served chain."""

from dataclasses import dataclass, replace
from pathlib import Path

from client.fit import fit_body
from client.look import Look
from client.parts import find_plates_in
from client.plates import Plate, plates_in, read_plates
from client.target import Target
from client.upright import upright_size
from predictors.picture import fit_picture
from shardline.evaluation_sources import is_bundle, is_program, open_bundle, open_loaded, open_program
from storage.bundle import PictureSpec
from training.evaluation.plates.sources import Seen, Source
from training.evaluation.sources import Program
from wire.errors import ModelError, PictureError, PredictorError
from wire.limits import REQUEST_BYTES, Limits

TASK = "plates"
WEIGHTS, CHECKPOINT = ".safetensors", ".pt"
INPUT_SIDE = 512  # what the detector is trained with, and what a served chain is taken to have


def open_model(model: Path | None, size: int | None, program: str) -> list[Program]:
    """What a MODEL stands for: of a bundle its chain, as it would be served, and its whole.

    Args:
        model: None is the detector with the weights that ship.
        size: of the network's input, for weights alone.
        program: of a bundle's shards, "portable", "compiled" or "auto".

    Raises:
        BundleError, ModelError: it is none of these, or cannot be loaded.
    """
    from shardline.models import load_by_name

    if model is None:
        return [open_loaded("the detector that ships", load_by_name("plates", None, size))]
    if is_bundle(model):
        return open_bundle(model, TASK, program)
    if is_program(model):
        return [open_program(model, TASK)]
    if model.suffix in (WEIGHTS, CHECKPOINT) and model.is_file():
        return [_open_weights(model, size or INPUT_SIDE)]
    raise ModelError(
        f"{model} is no bundle's folder, exported program (.pt2), weights ({WEIGHTS}) or checkpoint ({CHECKPOINT}): "
        "name one"
    )


def _open_weights(path: Path, size: int) -> Program:
    """Weights, which a checkpoint of a training holds too: the averaged ones."""
    from shardline.models import load_by_name
    from training.evaluation.plates.checkpoint import from_checkpoint

    if path.suffix == CHECKPOINT:
        model = replace(load_by_name("plates", "random:0", size), module=from_checkpoint(path))
    else:
        model = load_by_name("plates", str(path), size)
    return open_loaded(path.name, model)


class Served:
    """A chain that answers at a URL. It gives plates alone, those from the threshold on."""

    def __init__(self, url: str, size: int | None) -> None:
        self.name = url
        self._target = Target(url)
        self._spec = PictureSpec(height=size or INPUT_SIDE, width=size or INPUT_SIDE, fit="letterbox")

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
