"""The bundle whose stages compute almost nothing, and the time that a stage's reply reports."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.processes import UnavailableError
from benchmarks.stage import MIDDLE, build_wide, model_ms
from shardline.storage.bundle_folder import open_bundle
from shardline.wire.frame import Frame, encode


def test_the_middle_stage_transfers_the_wide_tensor(tmp_path: Path) -> None:
    bundle = open_bundle(build_wide(tmp_path / "wide", channels=2))
    middle = bundle.stages[MIDDLE]

    assert len(bundle.stages) == 3
    assert [spec.shape[1:] for spec in (*middle.inputs, *middle.outputs)] == [(2, 56, 56)] * 2


def test_a_reply_reports_the_time_of_the_model() -> None:
    frame = Frame(tensors={"x": np.zeros(1, np.float32)}, bundle="sha256:" + "0" * 64, stage=2, timings={"1": 2.5})

    assert model_ms(encode(frame), 1) == 2.5
    with pytest.raises(UnavailableError, match="the reply is not a frame"):
        model_ms(b'{"predictions": []}', 1)
