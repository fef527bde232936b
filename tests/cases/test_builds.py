"""Builds of awkward models: refused in one line, or a bundle that can be served."""

import json
from pathlib import Path

import pytest
from services.cli import run_command as shardline

SMALL = ("--size", "32", "--hop", "0.4,3")

REFUSED = {
    "a batch that squeeze() removes": ("Squeeze", "at batch 1 the output has no batch: it is [10] and must be [1, 10]"),
    "rows that are dropped": ("Confident", "it must have one row for each picture"),
    "two rows for each picture": ("Twice", "for 8 pictures the output has 16 rows"),
    "a table that is no batch": ("Anchors", "for 8 pictures the output has 5 rows"),
    "a weight that is NaN": ("nan", "its weights fc.bias hold NaN"),
    "a forward that fails": ("Fails", "raised IndexError at tests/cases/nets.py:"),
    "a forward that exits": ("Exits", "called sys.exit(3) at tests/cases/nets.py:"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_model_that_cannot_be_served_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    name, message = REFUSED[case]

    result = shardline("build", f"cases.nets:{name}", *SMALL, "--out", str(tmp_path / "o"), code=1)

    assert message in result.stderr.splitlines()[-1]
    assert not (tmp_path / "o").exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("weights", [(), ("--weights", "random:0")])
def test_a_forward_that_fails_is_one_line_whoever_runs_it_first(weights: tuple[str, ...], tmp_path: Path) -> None:
    result = shardline("build", "cases.nets:Fails", *SMALL, *weights, "--out", str(tmp_path / "o"), code=1)

    assert "IndexError at tests/cases/nets.py:" in result.stderr.splitlines()[-1]
    assert "no such layer of 4" in result.stderr.splitlines()[-1]


def test_a_module_that_exits_when_it_is_imported_is_an_error() -> None:
    result = shardline("plan", "cases.leaving:Base", *SMALL, code=1)

    assert "cannot be imported: it called sys.exit(None) at tests/cases/leaving.py:5" in result.stderr


def test_prints_of_the_model_are_kept_out_of_the_result() -> None:
    result = shardline("plan", "cases.nets:Prints", *SMALL, "--stages", "1", "--json")

    assert json.loads(result.stdout)["stages"]
    assert "noise" in result.stderr


@pytest.mark.parametrize(
    "name", ["a,b", *(pytest.param(name, marks=pytest.mark.heavy) for name in ("k=3", "a[0]", "50%25", "a(b)", "x@y"))]
)
def test_free_names_of_layers_build_and_verify(name: str, tmp_path: Path) -> None:
    shardline("build", f"cases.nets:Names?name={name!r}", *SMALL, "--stages", "2", "--out", str(tmp_path / "o"))

    assert "split == whole" in shardline("verify", str(tmp_path / "o"), "--random", "1").stdout


@pytest.mark.parametrize(("name", "options"), [("InfMask", ("--cuts", "masked_fill")), ("Bf16Out", ("--stages", "1"))])
def test_infinite_masks_and_other_floats_are_no_faults(name: str, options: tuple[str, ...], tmp_path: Path) -> None:
    shardline("build", f"cases.nets:{name}", *SMALL, *options, "--out", str(tmp_path / "o"))

    assert "split == whole" in shardline("verify", str(tmp_path / "o"), "--random", "1").stdout


def test_a_size_that_no_request_carries_is_refused_at_once(tmp_path: Path) -> None:
    result = shardline("build", "cases.nets:Base", "--size", "20000", "--out", str(tmp_path / "o"), code=1)

    assert "one picture has 381.5 MiB of pixels; at most 6.0 MiB go into one request: take a smaller" in result.stderr
    assert "loading" not in result.stderr
