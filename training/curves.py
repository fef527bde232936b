"""A training's curves for TensorBoard: `tensorboard --logdir FOLDER` shows them while it goes on."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from shardline.wire.errors import ModelError


class Curves:
    """A fit.Watch. What it writes is kept when the training is resumed.

    Raises:
        ModelError: tensorboard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        if find_spec("tensorboard") is None:
            raise ModelError("--tensorboard needs a package: pip install 'shardline[train]', or leave it out")
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder))

    def stepped(self, step: int, pictures: int, losses: Mapping[str, float], rate: float) -> None:
        self._add("loss", {**losses, "sum": sum(losses.values())}, step)
        self._add("train", {"rate": rate, "pictures": pictures}, step)

    def scored(self, step: int, pictures: int, scores: Mapping[str, float]) -> None:
        self._add("score", {**scores, "pictures": pictures}, step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()

    def _add(self, group: str, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(f"{group}/{name}", value, step)
