"""Loading of exported programs; tests/attacks/test_archives.py has those that would run code."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchvision
from services.processes import ROOT

from shardline.partition.archive import check_torch_version
from shardline.wire.errors import BundleError


def test_a_torch_of_the_same_release_is_taken() -> None:
    major, minor, *_ = torch.__version__.split(".")

    check_torch_version(f"{major}.{minor}.99")
    with pytest.raises(BundleError, match="build the bundle again"):
        check_torch_version(f"{major}.{int(minor) + 1}.0")


class Boxes(torch.nn.Module):
    """An operation of torchvision's own."""

    def forward(self, boxes: torch.Tensor) -> torch.Tensor:
        kept: torch.Tensor = torchvision.ops.nms(boxes, boxes[:, 0], 0.5)
        return kept


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of torch's own, while it exports
def test_a_program_with_torchvision_s_operations_is_loaded_by_a_process_that_has_not_imported_it(
    tmp_path: Path,
) -> None:
    program = torch.export.export(Boxes(), (torch.rand(5, 4),))
    program._example_inputs = None
    for node in program.graph.nodes:
        node.meta = {key: value for key, value in node.meta.items() if key == "val"}
    torch.export.save(program, tmp_path / "shard.pt2")
    code = (
        "import sys, pathlib; from shardline.partition.runtime import load_program; "
        "assert 'torchvision' not in sys.modules; "
        "load_program(pathlib.Path(sys.argv[1])); print('loaded')"
    )

    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "shard.pt2")], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert result.stdout == "loaded\n", result.stderr
