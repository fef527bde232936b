"""A training of a tiny network, as a process: `python -m services.small_training FOLDER [--resume]`.

It learns to tell bright pictures from dark ones, draws its batches in another process, saves after every step, and
writes the averaged weights to FOLDER/weights.pt. Stopped by a signal, it exits with 128 and the signal's number.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from shardline.training.fit import TrainingRun, TrainingStopped, fit
from shardline.training.optim import TrainingSettings

STEPS, BATCH = 400, 16


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallTask:
    """A shardline.training.fit.TrainingTask."""

    steps: int = STEPS

    def draw(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng(step)
        labels = random.integers(0, 2, BATCH)
        return random.normal(labels[:, None, None, None] - 0.5, 1, (BATCH, 3, 8, 8)).astype(np.float32), labels

    def pictures(self, step: int) -> int:
        return step * BATCH

    def model(self) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            return nn.Sequential(
                nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(), nn.Linear(288, 2)
            )

    def matrices(self, model: nn.Module) -> list[nn.Parameter]:
        return [weight for weight in model.parameters() if weight.dim() == 4]

    def losses(self, model: nn.Module, batch: tuple[np.ndarray, np.ndarray], device: torch.device) -> dict[str, Tensor]:
        pictures, labels = (torch.from_numpy(item).to(device) for item in batch)
        return {"classes": nn.functional.cross_entropy(model(pictures), labels)}

    def scores(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        pictures, labels = (torch.from_numpy(item).to(device) for item in self.draw(10_000))
        with torch.inference_mode():
            return {"score": float((model(pictures).argmax(1) == labels).float().mean())}


def main(folder: Path, *, resume: bool) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(5)  # dropout is random: its state must be in the checkpoint
    run = TrainingRun(folder=folder, device=torch.device("cpu"), workers=1, save_every_s=0)
    try:
        outcome = fit(SmallTask(), TrainingSettings(warm_up=10, score_every=100), run, resume=resume)
    except TrainingStopped as stopped:
        sys.exit(128 + stopped.number)
    torch.save(outcome.model.state_dict(), folder / "weights.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), resume="--resume" in sys.argv)
