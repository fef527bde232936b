"""TorchScript of a bundle's parts: equal to the bit after a round trip, at any batch, or not written."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from services import small_models
from services.handed_over import Numbered, bundle_of
from typer.testing import CliRunner

from shardline.__main__ import app
from shardline.formats.parts import read_parts
from shardline.formats.torchscript import FORMS, PARTS_FILE, export_torchscript, save_form
from shardline.partition.verify import LocalChain
from shardline.wire.errors import FileError, FormatError


def test_the_command_writes_and_describes_each_form_of_each_part(small_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["export", "torchscript", str(small_bundle), "--out", str(out)])
    document = json.loads((out / PARTS_FILE).read_text())
    names = ["small-0", "small-1", "small-2", "small"]

    assert result.exit_code == 0
    assert result.stdout.split() == [str(out / form / f"{name}.pt") for name in names for form in FORMS]
    assert all(Path(line).is_file() for line in result.stdout.split())
    assert [part["name"] for part in document["parts"]] == names
    assert document["parts"][0]["inputs"][0]["shape"] == ["batch", 3, 32, 32]
    assert document["difference"] == 0.0


@pytest.mark.parametrize("form", FORMS)
def test_the_shards_in_turn_equal_the_whole_at_a_batch_of_its_own(
    windows_bundle: Path, tmp_path: Path, form: str
) -> None:
    """Loaded where nothing of this project is; the middle shard's batch is a multiple of the pictures."""
    export_torchscript(windows_bundle, tmp_path / "out")
    pixels = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    torch.save(pixels, tmp_path / "pixels.pt")
    script = "\n".join(
        [
            "import sys, torch",
            "torch.set_num_threads(1)",
            "folder, pixels, out = sys.argv[1:]",
            "values = (torch.load(pixels),)",
            "with torch.inference_mode():",
            "    for index in range(3):",
            "        values = torch.jit.load(f'{folder}/net-{index}.pt')(*values)",
            "assert 'partition' not in sys.modules",
            "torch.save(values, out)",
        ]
    )
    command = [sys.executable, "-W", "ignore", "-c", script]
    folder, given, out = tmp_path / "out" / form, tmp_path / "pixels.pt", tmp_path / "values.pt"
    subprocess.run([*command, str(folder), str(given), str(out)], check=True, timeout=120, cwd=tmp_path)

    [expected] = LocalChain(windows_bundle).run_reference(pixels.numpy())[-1].values()
    [found] = torch.load(out)
    assert found.numpy().tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", ["strided", "tuples", "masked"])
def test_awkward_models_are_taken(tmp_path: Path, name: str) -> None:
    bundle = bundle_of(tmp_path / "bundle", getattr(small_models, name)(), ())

    scripts = export_torchscript(bundle, tmp_path / "out")

    assert [(script.form, script.reason) for script in scripts] == [("scripted", ""), ("traced", "")]


def test_where_one_compiler_fails_the_other_form_is_there(tmp_path: Path) -> None:
    """torch's tracer records a fill in place as an operation that it does not have."""
    bundle = bundle_of(tmp_path / "bundle", small_models.in_place(), ())

    scripted, traced = export_torchscript(bundle, tmp_path / "out")

    assert (scripted.path, scripted.reason) == ("scripted/net.pt", "")
    assert traced.path is None
    assert "full_like" in traced.reason


def test_a_form_that_is_wrong_at_another_batch_is_not_written(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "bundle", Numbered(), ())

    scripted, traced = export_torchscript(bundle, tmp_path / "out")

    assert scripted.path == "scripted/net.pt"
    assert traced.path is None
    assert traced.reason.startswith("net traced: ")
    assert not (tmp_path / "out" / "traced" / "net.pt").exists()


def test_a_part_says_what_its_compiler_does_not_take(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "bundle", Numbered(), ())
    [part] = read_parts(bundle)

    with pytest.raises(FormatError, match="net traced"):
        save_form(part, "traced", tmp_path / "net.pt")


def test_what_is_there_is_not_overwritten(small_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("kept")

    with pytest.raises(FileError, match="exists already: choose another --out"):
        export_torchscript(small_bundle, tmp_path / "out")

    assert [path.name for path in tmp_path.iterdir()] == ["out"]
