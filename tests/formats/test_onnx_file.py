"""Parts as ONNX: saved with the specs' names, and compared in onnxruntime."""

from dataclasses import replace
from pathlib import Path

import pytest

from shardline.formats.onnx_file import MOST_RELATIVE_ERROR, save_onnx
from shardline.formats.parts import read_parts
from shardline.wire.errors import FormatError

onnxruntime = pytest.importorskip("onnxruntime")


def test_a_part_is_saved_under_its_names_and_its_error_is_told(small_bundle: Path, tmp_path: Path) -> None:
    part = next(read_parts(small_bundle))

    error = save_onnx(part, tmp_path / "model.onnx")

    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    assert 0 <= error <= MOST_RELATIVE_ERROR["fp32"]
    assert [value.name for value in session.get_inputs()] == [spec.name for spec in part.stage.inputs]
    assert [value.name for value in session.get_outputs()] == [spec.name for spec in part.stage.outputs]


def test_a_full_disk_is_no_reason_for_another_format(small_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").symlink_to("/dev/full")

    with pytest.raises(OSError, match="No space left on device"):
        save_onnx(next(read_parts(small_bundle)), tmp_path / "model.onnx")

    assert list(tmp_path.iterdir()) == []


def test_a_part_that_is_too_far_off_is_not_kept(small_bundle: Path, tmp_path: Path) -> None:
    part = next(read_parts(small_bundle))
    examples = {
        batch: (given, tuple(2 * value + 1 for value in found)) for batch, (given, found) in part.examples.items()
    }

    with pytest.raises(FormatError, match="as ONNX is off by"):
        save_onnx(replace(part, examples=examples), tmp_path / "model.onnx")

    assert list(tmp_path.iterdir()) == []
