"""What `shardline evaluate classifier` asks: a bundle's chain and its whole, one program, weights, a served chain."""

from pathlib import Path

from client.fit import fit_body
from client.target import Target
from shardline.evaluation_sources import is_bundle, is_program, open_bundle, open_loaded, open_program
from training.evaluation.classifier.sources import ALL_CLASSES, Seen, read_prediction
from training.evaluation.sources import Program
from wire.errors import ModelError, PredictorError
from wire.limits import REQUEST_BYTES

TASK = "classify"
TRAINED = ".json"  # what `shardline train classifier` writes beside the weights


def open_model(model: Path, program: str) -> list[Program]:
    """What a MODEL stands for: of a bundle its chain, as it would be served, and its whole.

    Args:
        program: of a bundle's shards, "portable", "compiled" or "auto".

    Raises:
        BundleError, ModelError: it is none of these, or cannot be loaded.
    """
    if is_bundle(model):
        return open_bundle(model, TASK, program)
    if is_program(model):
        return [open_program(model, TASK)]
    if model.suffix == TRAINED and model.is_file():
        from shardline.models import load_by_name

        return [open_loaded(model.name, load_by_name(str(model), None, None, TASK))]
    raise ModelError(f"{model} is no bundle's folder, exported program (.pt2) or training's JSON: name one")


class Served:
    """A chain that answers at a URL. It is asked for the scores of all classes."""

    def __init__(self, url: str) -> None:
        self.name = url
        self._target = Target(url)

    def look(self, picture: bytes) -> Seen:
        """
        Raises:
            PredictorError: it does not answer, or with something else than the scores of all classes.
        """
        predictions = self._target.ask(fit_body(picture, ALL_CLASSES, REQUEST_BYTES)).predictions
        seen = read_prediction(predictions[0]) if len(predictions) == 1 else None
        if seen is None:
            start = str(list(predictions))[:120]
            raise PredictorError(f"{self.name} replies with something else than classes: {start}", status=502)
        return seen
