"""Plots that all tasks share, on the values at their edges: nothing known, one value, many labels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from shardline.training.evaluation.metrics import Calibration
from shardline.training.evaluation.plots import (
    Estimate,
    Plot,
    PlotCurve,
    Thumbnail,
    contact_sheet,
    draw_curves,
    draw_estimates,
    draw_matrix,
    draw_reliability,
    save_plots,
    shorten_name,
)


def draw_axes(figure: Figure) -> None:
    figure.subplots()


def test_a_plot_is_a_file_of_its_size(tmp_path: Path) -> None:
    plot = Plot(file="empty.png", size=(2, 1), draw=draw_axes, title="Empty", alt="Nothing.")
    [path] = save_plots([plot], tmp_path)
    with Image.open(path) as opened:
        assert opened.size == (240, 120)


def test_estimates_that_are_unknown_have_a_tick_and_no_mark() -> None:
    axes: Any = Figure().subplots()
    draw_estimates(
        axes, [Estimate(name="a", value=0.5, low=0.25, high=1.0), Estimate(name="b", value=None, low=None, high=None)]
    )

    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b"]
    assert axes.containers[0].lines[0].get_ydata().tolist() == [50]


def test_curves_have_a_legend_where_there_are_curves() -> None:
    axes: Any = Figure().subplots()
    draw_curves(axes, [], "AP")
    assert axes.get_legend() is None
    draw_curves(axes, [PlotCurve(name="a", x=(0, 1), y=(1, 0))], "AP")
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a"]


@pytest.mark.parametrize(("rows", "numbers"), [(3, 3), (40, 0)])
def test_a_large_matrix_has_no_numbers(rows: int, numbers: int) -> None:
    figure = Figure()
    labels = [f"class {number}" for number in range(rows)]
    draw_matrix(figure, np.eye(rows, dtype=np.int64), labels, labels, left="true", below="predicted", title="matrix")

    assert len(figure.axes[0].texts) == numbers


def test_reliability_of_nothing() -> None:
    figure = Figure()
    draw_reliability(figure, Calibration().metrics(), what="plates", right="read", threshold=0.7)

    assert figure.axes[0].get_title() == "Scores of plates"


def test_a_contact_sheet_has_four_thumbnails_a_row(tmp_path: Path) -> None:
    thumbnails = [
        Thumbnail(pixels=np.zeros((4, 6, 3), np.uint8), title=str(number), true_outline=((0, 0), (1, 0), (1, 1)))
        for number in range(5)
    ]
    sheet = contact_sheet("sheet.png", thumbnails, "Misses", "Five crops.")
    [path] = save_plots([sheet], tmp_path)

    assert sheet.size[1] == pytest.approx(0.6 + 2 * 2.55)
    assert path.is_file()


def test_a_long_name_keeps_its_end() -> None:
    assert shorten_name("short.png") == "short.png"
    assert shorten_name("a" * 40 + "end.png").endswith("aend.png")
    assert len(shorten_name("a" * 40)) == 28
