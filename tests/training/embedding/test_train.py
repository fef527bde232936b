"""Training of the embedding: the loss as its paper writes it, batches by number, and that something is learned."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from services.cli import run_command
from services.tiny_digits import write_idx, write_mnist

from shardline.training.embedding.model import EmbeddingNet
from shardline.training.embedding.train import (
    TEMPERATURE,
    EmbeddingRecipe,
    EmbeddingTrainingTask,
    contrastive_loss,
    training_digits,
    validation_digits,
)
from shardline.training.fit import TrainingRun, fit
from shardline.training.models import load_by_name
from shardline.training.optim import TrainingSettings
from shardline.wire.errors import DatasetError, UsageError


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mnist(tmp_path_factory.mktemp("data") / "mnist")


def as_written(vectors: np.ndarray, classes: list[int]) -> float:
    """Equation 2 of the paper, picture by picture."""
    near = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    losses = []
    for anchor, own in enumerate(classes):
        others = [index for index in range(len(classes)) if index != anchor]
        same = [other for other in others if classes[other] == own]
        if same:
            total = sum(np.exp(near[anchor] @ near[other] / TEMPERATURE) for other in others)
            parts = [np.log(np.exp(near[anchor] @ near[item] / TEMPERATURE) / total) for item in same]
            losses.append(-sum(parts) / len(same))
    return float(np.mean(losses)) if losses else 0.0


@settings(deadline=None, max_examples=40)
@given(classes=st.lists(st.integers(0, 3), min_size=2, max_size=9), seed=st.integers(0, 2**16))
def test_the_loss_is_the_paper_s(classes: list[int], seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(len(classes), 5))

    found = contrastive_loss(torch.from_numpy(vectors), torch.tensor(classes))

    assert float(found) == pytest.approx(as_written(vectors, classes), rel=1e-4, abs=1e-5)


def test_a_batch_follows_from_its_number(data: Path) -> None:
    draw = EmbeddingTrainingTask(EmbeddingRecipe(pictures=600, batch=50), data).draw
    again = pickle.loads(pickle.dumps(draw))

    assert all((one == other).all() for one, other in zip(draw(3), again(3), strict=True))
    assert (draw(3).pixels != draw(4).pixels).any()
    assert draw(0).pixels.shape == (50, 3, 28, 28)
    assert draw(0).pixels.dtype == np.uint8


def test_scores_are_taken_from_pictures_that_are_not_learned_from(data: Path) -> None:
    assert len(training_digits(data).labels) + len(validation_digits(data).labels) == 600
    kept = {picture.tobytes() for picture in training_digits(data).pictures}
    assert not any(picture.tobytes() in kept for picture in validation_digits(data).pictures)


def test_it_learns(data: Path, tmp_path: Path) -> None:
    course = EmbeddingTrainingTask(EmbeddingRecipe(pictures=1600, batch=64), data)
    before = course.scores(course.model().eval(), torch.device("cpu"))["score"]

    outcome = fit(
        course,
        TrainingSettings(warm_up=5),
        TrainingRun(folder=tmp_path, device=torch.device("cpu"), workers=0),
        resume=False,
    )

    assert outcome.scores["score"] >= max(0.97, before)


def test_pictures_of_another_size_and_a_batch_of_one(tmp_path: Path) -> None:
    write_mnist(tmp_path, train=20)
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", np.zeros((20, 14, 14), np.uint8))

    with pytest.raises(DatasetError, match="pictures of 14 x 14 pixels; allowed are 28 x 28"):
        EmbeddingTrainingTask(EmbeddingRecipe(), tmp_path)
    with pytest.raises(UsageError, match="--pictures 40 in batches of 64"):
        EmbeddingRecipe(pictures=40, batch=64)


@pytest.mark.slow
def test_the_command_writes_weights_that_build_takes_and_goes_on(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "trained"
    options = ("--data", str(data), "--pictures", "640", "--batch", "64", "--threads", "1", "--workers", "0")
    trained = run_command("train", "embedding", "--out", str(folder), *options)
    weights = folder / "embedding.safetensors"
    resumed = run_command("train", "embedding", "--out", str(folder), "--data", str(data), "--resume", "--workers", "0")

    said = json.loads((folder / "embedding.json").read_text())
    model = load_by_name("embedding", str(weights), None)
    assert trained.stdout.strip() == resumed.stdout.strip() == str(weights)
    assert (said["pictures"], said["steps"]) == (640, 10)
    assert isinstance(model.module, EmbeddingNet)
    assert (model.task, model.picture.fit, model.picture.height, model.labels) == ("retrieve", "stretch", 28, ())


def test_the_short_name_needs_weights_and_its_own_size() -> None:
    with pytest.raises(UsageError, match="shardline train embedding"):
        load_by_name("embedding", None, None)
    with pytest.raises(UsageError, match="takes pictures of 28 pixels"):
        load_by_name("embedding", "random:0", 32)
