"""Parts of a bundle to export, and the folder that an export is written into."""

from pathlib import Path

import pytest
import torch

from shardline.formats.parts import BATCHES, read_parts, writing_folder


def test_the_parts_are_the_shards_and_the_whole(small_bundle: Path) -> None:
    parts = list(read_parts(small_bundle))
    first, last, whole = parts[0], parts[-2], parts[-1]

    assert [part.name for part in parts] == ["small-0", "small-1", "small-2", "small"]
    assert [part.is_whole for part in parts] == [False, False, False, True]
    assert whole.stage.inputs == first.stage.inputs
    assert whole.stage.outputs == last.stage.outputs
    for batch in BATCHES:
        assert first.examples[batch][0][0].shape[0] == batch
        [expected], [found] = whole.examples[batch][1], last.examples[batch][1]
        assert torch.equal(found, expected)


def test_the_whole_is_left_out_on_request(small_bundle: Path) -> None:
    assert [part.name for part in read_parts(small_bundle, whole=False)] == ["small-0", "small-1", "small-2"]


def test_a_folder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stops"):
        _stops_half_way(tmp_path / "out")

    assert list(tmp_path.iterdir()) == []


def _stops_half_way(out: Path) -> None:
    with writing_folder(out) as draft:
        (draft / "half").write_text("")
        raise RuntimeError("stops")
