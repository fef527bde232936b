"""A training's curves can be read by TensorBoard."""

from pathlib import Path

import pytest
from services.small_training import SmallTask
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from shardline.storage.user_cache import in_use
from shardline.training.optim import TrainingSettings
from shardline.training.run import TensorBoardCurves, TrainingOptions, run_training
from shardline.wire.errors import UsageError


def test_what_is_told_is_drawn(tmp_path: Path) -> None:
    curves = TensorBoardCurves(tmp_path)
    curves.stepped(10, 80, {"boards": 1.0, "characters": 2.0}, 1e-3)
    curves.stepped(20, 160, {"boards": 0.5, "characters": 1.0}, 2e-3)
    curves.scored(20, 160, {"score": 0.75})
    curves.close()
    read = EventAccumulator(str(tmp_path))
    read.Reload()

    assert [(Scalar.step, Scalar.value) for Scalar in read.Scalars("loss/sum")] == [(10, 3.0), (20, 1.5)]
    assert [Scalar.value for Scalar in read.Scalars("score/score")] == [0.75]
    assert {"loss/boards", "train/rate", "train/pictures"} <= set(read.Tags()["scalars"])


def test_two_trainings_do_not_share_a_folder(tmp_path: Path) -> None:
    options = TrainingOptions(folder=tmp_path, device="cpu", threads=1)

    with in_use(tmp_path), pytest.raises(UsageError, match="another training runs in"):
        run_training(SmallTask(steps=1), TrainingSettings(), {}, options)
