"""A result is written once and read in many ways."""

import csv
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.figures import ALONE, MANY
from benchmarks.pipeline import GrowthPoint, GrowthSeries
from benchmarks.plots import plot_series, plot_systems
from benchmarks.report import END, START, Hardware, load_samples, save, write_docs
from benchmarks.systems.base import LoadSample

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
SAMPLE = LoadSample(
    system="",
    round=0,
    load=MANY,
    rps=10.0,
    p50_ms=100.0,
    p90_ms=110.0,
    p99_ms=None,
    max_ms=130.0,
    answered=60,
    errors=0,
    cpu_ms=90.0,
    client_cpu_ms=0.5,
    pss_mib=500.0,
    peak_rss_mib=900.0,
)
SAMPLES = [
    replace(SAMPLE, system=system, load=load, round=round_, rps=10.0 + round_)
    for system in ("k3-fp32", "torchserve-tuned")
    for load in (ALONE, MANY)
    for round_ in range(2)
]


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


def test_plots_are_pictures(tmp_path: Path) -> None:
    plot_systems(SAMPLES, "title", tmp_path / "systems.png")
    alone, many = ([each for each in SAMPLES if each.load == load] for load in (ALONE, MANY))
    points = tuple(GrowthPoint.of(x, many, alone, rps=11.0, ms=90.0, apart_rps=20.0) for x in (1, 2))
    series = GrowthSeries(name="stages", label="stages K", points=points)
    plot_series(series, "title", tmp_path / "series.png")

    for name in ("systems", "series"):
        with Image.open(tmp_path / f"{name}.png") as image:
            assert image.format == "PNG"
            assert min(image.size) > 200
    assert series.over_predicted() == {"rps_over_predicted": 0.955, "p50_over_predicted": 1.111}


def test_a_machine_names_a_file() -> None:
    assert HARDWARE.slug == "amd-epyc-7b13-2cpu"
    assert not HARDWARE.has_bf16
    assert replace(HARDWARE, flags=("amx_bf16", "avx2")).has_bf16
    assert (
        replace(HARDWARE, cpu="Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz").slug == "intel-xeon-platinum-8481c-2cpu"
    )
