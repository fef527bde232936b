"""A training's curves can be read by TensorBoard."""

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from shardline.training.run import TensorBoardCurves


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
