"""The GPU benchmark on a machine without a GPU."""

import json
import sys

import pytest
import torch

from benchmarks.gpu import BATCHES, main, spec


@pytest.mark.skipif(torch.cuda.is_available(), reason="it would measure the GPU")
def test_without_a_gpu_nothing_is_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu"])

    assert main() == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"benchmark": "gpu", "gpu": None}


def test_bundles_are_compiled_for_cuda() -> None:
    assert spec(3).name == f"resnet50-k3-fp16-b{BATCHES[-1]}-cuda-compiled"
