"""Checkpoints: written whole or not at all, and never run."""

import os
import pickle
from pathlib import Path

import pytest
import torch

from shardline.training.checkpoint import Checkpoint, load_checkpoint, random_states, save_checkpoint, set_random_states
from shardline.training.weights import write_weights
from shardline.wire.errors import FileError, TrainingError


def checkpoint(step: int = 7) -> Checkpoint:
    return Checkpoint(
        step=step,
        model={"weight": torch.arange(6.0).view(2, 3)},
        average={"weight": torch.zeros(2, 3)},
        optimisers=[{"state": {}, "param_groups": [{"lr": 0.1}]}, {"state": {}, "param_groups": []}],
        random=random_states(),
        best=0.5,
        since=2,
        seconds=1.5,
        recipe={"seed": 3, "background": None, "rate": 2e-3},
    )


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last.pt", checkpoint())
    found = load_checkpoint(tmp_path / "last.pt")

    assert torch.equal(found.model["weight"], checkpoint().model["weight"])
    assert (found.step, found.best, found.since, found.recipe) == (7, 0.5, 2, checkpoint().recipe)
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_random_numbers_go_on(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last.pt", checkpoint())
    expected = torch.rand(3)
    torch.rand(100)
    set_random_states(load_checkpoint(tmp_path / "last.pt").random)

    assert torch.equal(torch.rand(3), expected)


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch harmed",)


def test_a_file_with_code_in_it_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"format": 1, "model": Harmful()}, tmp_path / "torch.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Harmful()))
    for name in ("torch.pt", "plain.pt"):
        with pytest.raises(TrainingError, match="damaged, or no checkpoint"):
            load_checkpoint(tmp_path / name)

    assert not (tmp_path / "harmed").exists()


def test_of_another_version_is_said(tmp_path: Path) -> None:
    torch.save({"format": 2}, tmp_path / "last.pt")
    with pytest.raises(TrainingError, match="no checkpoint of this version"):
        load_checkpoint(tmp_path / "last.pt")


def test_every_cut_file_is_damaged(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last.pt", checkpoint())
    content = (tmp_path / "last.pt").read_bytes()
    for length in range(0, len(content), len(content) // 7):
        (tmp_path / "cut.pt").write_bytes(content[:length])
        with pytest.raises(TrainingError, match="damaged"):
            load_checkpoint(tmp_path / "cut.pt")


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot be written"):
        save_checkpoint(tmp_path / "none" / "last.pt", checkpoint())


def test_weights_too_large_for_two_bytes_are_refused(tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 2)
    with torch.no_grad():
        model.weight[0, 0] = 1e6
    with pytest.raises(TrainingError, match=r"weight holds 1e\+06, and fp16 holds 65504"):
        write_weights(tmp_path, "plates", model, {})

    assert list(tmp_path.iterdir()) == []
