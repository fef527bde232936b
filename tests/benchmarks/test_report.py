"""Files and tables of a result."""

import csv
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from services.load_samples import SAMPLES

from benchmarks.report import END, START, Hardware, load_samples, save, write_docs

HARDWARE = Hardware(cpu="AMD EPYC 7B13 64-Core Processor", cpus=2, memory_gib=24.0, flags=("avx2",), system="Linux 6")
DOCUMENT = {
    "command": "python -m benchmarks.serving",
    "date": "2026-01-02 03:04 UTC",
    "hardware": asdict(HARDWARE),
    "versions": {"torch": "2.14.1"},
    "rounds": 2,
    "left_out": {"ray-defaults": "ray cannot be installed"},
    "figures": {"k3_over_k1_rps": 0.97, "planner_over_best": None},
}


def test_files_hold_all_samples(tmp_path: Path) -> None:
    save(tmp_path / "new" / "result", DOCUMENT, SAMPLES)

    document, samples = load_samples(tmp_path / "new" / "result.json")
    with (tmp_path / "new" / "result.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert samples == SAMPLES
    assert document["figures"] == DOCUMENT["figures"]
    assert [line["system"] for line in lines] == [sample.system for sample in SAMPLES]


def test_docs_get_the_table_and_keep_the_rest(tmp_path: Path) -> None:
    save(tmp_path / "result", DOCUMENT, SAMPLES)
    (page := tmp_path / "page.md").write_text(f"# Before\n\n{START}\nold\n{END}\n\n## After\n")

    for _ in range(2):  # the second time in place of the first
        write_docs(tmp_path / "result.json", page)

    text = page.read_text()
    assert text.startswith("# Before\n")
    assert text.endswith("## After\n")
    assert "old" not in text
    assert text.count("| k3-fp32 | closed 8 | 10.5 (10.0–11.0) | 100 | 110 | – | 90.0 | 500 |") == 1
    assert "- ray-defaults was not measured: ray cannot be installed" in text
    assert "| `planner_over_best` | – |" in text


def test_a_page_without_a_place_for_the_table(tmp_path: Path) -> None:
    save(tmp_path / "result", DOCUMENT, SAMPLES)
    (page := tmp_path / "page.md").write_text("# Nothing\n")

    with pytest.raises(ValueError, match="has no <!-- table"):
        write_docs(tmp_path / "result.json", page)


def test_a_machine_names_a_file() -> None:
    assert HARDWARE.slug == "amd-epyc-7b13-2cpu"
    assert not HARDWARE.has_bf16
    assert replace(HARDWARE, flags=("amx_bf16", "avx2")).has_bf16
    assert (
        replace(HARDWARE, cpu="Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz").slug == "intel-xeon-platinum-8481c-2cpu"
    )
