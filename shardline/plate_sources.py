"""What `shardline evaluate plates` asks: a bundle's chain and its whole, one program, weights, or a served chain."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shardline.client.pictures import upright_size
from shardline.client.plates import Plate, read_plates
from shardline.client.tiling import Tiling, find_plates_in
from shardline.evaluation_doors import ServedChain
from shardline.evaluation_sources import (
    is_bundle,
    is_program,
    open_bundle_programs,
    open_chain,
    open_loaded,
    open_program,
)
from shardline.predictors.picture import fit_picture
from shardline.storage.bundle import PictureSpec
from shardline.training.evaluation.plates.sources import Reader, Seen, Source
from shardline.training.evaluation.sources import Program
from shardline.wire.errors import ModelError, PictureError
from shardline.wire.limits import Limits

TASK = "plates"
WEIGHTS, CHECKPOINT = ".safetensors", ".pt"
INPUT_SIDE = 512  # what the detector is trained with, and what a served chain is taken to have


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateDoors:
    """`size` is of the network's input, for weights alone; `program` which of a bundle's shards run: "portable",
    "compiled" or "auto"; `look` how closely all of them look at large pictures."""

    size: int | None
    program: str
    look: Tiling

    def served(self, url: str) -> Source:
        return self._closer(Served(url, self.size))

    def opened(self, model: Path | None) -> Sequence[Source]:
        """None is the detector with the weights that ship.

        Raises:
            BundleError, ModelError: it is none of those that are allowed, or cannot be loaded.
        """
        return [self._closer(Reader(program=each)) for each in self._programs(model)]

    def chain(self, bundle: Path) -> Source:
        return self._closer(Reader(program=open_chain(bundle, TASK, self.program)))

    def _closer(self, source: Source) -> Source:
        return source if self.look == "once" else Closer(source=source, how=self.look)

    def _programs(self, model: Path | None) -> list[Program]:
        if model is None:
            from shardline.training.models import load_by_name

            return [open_loaded("the detector that ships", load_by_name("plates", None, self.size))]
        if is_bundle(model):
            return open_bundle_programs(model, TASK, self.program)
        if is_program(model):
            return [open_program(model, TASK)]
        if model.suffix in (WEIGHTS, CHECKPOINT) and model.is_file():
            return [_open_weights(model, self.size or INPUT_SIDE)]
        raise ModelError(
            f"{model} is no bundle's folder, exported program (.pt2), weights ({WEIGHTS}) or checkpoint "
            f"({CHECKPOINT}): name one"
        )


def _open_weights(path: Path, size: int) -> Program:
    """Weights, which a checkpoint of a training holds too: the averaged ones."""
    from shardline.training.evaluation.plates.checkpoint import from_checkpoint
    from shardline.training.models import load_by_name

    if path.suffix == CHECKPOINT:
        model = replace(load_by_name("plates", "random:0", size), module=from_checkpoint(path))
    else:
        model = load_by_name("plates", str(path), size)
    return open_loaded(path.name, model)


class Served:
    """A chain that answers at a URL. It gives plates alone, those from the threshold on."""

    def __init__(self, url: str, size: int | None) -> None:
        self.name = url
        self._chain = ServedChain(url)
        self._spec = PictureSpec(height=size or INPUT_SIDE, width=size or INPUT_SIDE, fit="letterbox")

    def look(self, picture: bytes, threshold: float) -> Seen:
        """
        Raises:
            PredictorError: it does not answer, or with something else than plates.
        """
        found = self._chain.ask(picture, {"threshold": threshold}, read_plates, "plates")
        said = [plate.reported for plate in found]
        view = fit_picture(picture, self._spec, Limits()).view
        return Seen(view=view, outputs=None, plates=said, unsure=said)


@dataclass(frozen=True, slots=True, kw_only=True)
class Closer:
    """A source that looks again, at parts of a picture, as the client does (client/tiling.py).

    Boxes of classes are those of the first look.
    """

    source: Source
    how: Tiling

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
        found = [plate.reported for plate in find_plates_in(picture, size, ask, tiling=self.how, threshold=threshold)]
        return replace(looks[0], plates=found, unsure=found, passes=len(looks))
