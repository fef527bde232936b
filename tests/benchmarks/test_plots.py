"""Plots of systems and of a growth series."""

from pathlib import Path

from PIL import Image
from services.load_samples import SAMPLES

from benchmarks.figures import ALONE, MANY
from benchmarks.pipeline import GrowthPoint, GrowthSeries
from benchmarks.plots import colour, plot_series, plot_systems


def test_plots_are_pictures(tmp_path: Path) -> None:
    plot_systems(SAMPLES, "title", tmp_path / "systems.png")
    alone, many = ([sample for sample in SAMPLES if sample.load == load] for load in (ALONE, MANY))
    points = tuple(GrowthPoint.of(x, many, alone, rps=11.0, ms=90.0, apart_rps=20.0) for x in (1, 2))
    series = GrowthSeries(name="stages", label="stages K", points=points)
    plot_series(series, "title", tmp_path / "series.png")

    for name in ("systems", "series"):
        with Image.open(tmp_path / f"{name}.png") as image:
            assert image.format == "PNG"
            assert min(image.size) > 200
    assert series.over_predicted() == {"rps_over_predicted": 0.955, "p50_over_predicted": 1.111}


def test_our_systems_have_one_colour() -> None:
    assert colour("k3-fp32") == colour("k1-bf16-compiled") != colour("ray-defaults")
    assert colour("in-process-eager") not in (colour("k3-fp32"), colour("ray-defaults"))
