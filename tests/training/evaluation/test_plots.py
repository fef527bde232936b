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
    confusion_plot,
    contact_sheet,
    draw_curves,
    draw_estimates,
    draw_reliability,
    draw_rows,
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


@pytest.mark.parametrize("classes", [2, 40])
def test_a_confusion_matrix_names_all_its_classes(classes: int) -> None:
    labels = [f"class {number}" for number in range(classes)]
    counts = np.eye(classes, classes + 1, dtype=np.int64)

    axes = drawn_confusion(counts, labels)

    assert texts(axes.get_yticklabels()) == texts(axes.get_xticklabels()) == labels
    assert len(axes.texts) == classes


def test_of_many_classes_the_most_confused_are_shown_and_all_others_share_a_column() -> None:
    labels = [f"class {number}" for number in range(100)]
    counts = np.eye(100, 101, dtype=np.int64) * 123_456
    counts[7, 93], counts[7, 20], counts[7, 100] = 9, 1, 2
    counts[50:80, 4] = 3

    axes = drawn_confusion(counts, labels)
    row = [text.get_text() for text in axes.texts if text.get_position()[1] == 1]  # of class 7

    assert texts(axes.get_yticklabels())[:3] == ["class 4", "class 7", "class 50"]
    assert len(axes.get_yticklabels()) == 30
    assert texts(axes.get_xticklabels())[-2:] == ["all others", "none"]
    assert row == ["123k", "9", "1", "2"]


def drawn_confusion(counts: "np.ndarray[Any, np.dtype[np.int64]]", labels: list[str]) -> Any:
    figure = Figure()
    confusion_plot(counts, labels, "none", "pictures", "Classes").draw(figure)
    return figure.axes[0]


def texts(labels: Any) -> list[str]:
    return [label.get_text() for label in labels]


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0"), (9999, "9999"), (12345, "12.3k"), (456789, "457k"), (7_800_000, "7.8M")]
)
def test_counts_fit_a_cell(count: int, text: str) -> None:
    axes = drawn_confusion(np.array([[count, 0, 0], [0, 1, 0]]), ["a", "b"])

    assert texts(axes.texts) == ([text] if count else []) + ["1"]


def test_rows_are_named_from_the_top() -> None:
    axes: Any = Figure().subplots()
    draw_rows(
        axes,
        [Estimate(name="a" * 40, value=0.5, low=0.25, high=1.0), Estimate(name="b", value=None, low=None, high=None)],
    )

    assert texts(axes.get_yticklabels()) == ["a" * 27 + "…", "b"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]
    assert axes.containers[0].lines[0].get_xdata().tolist() == [50]


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


def test_a_name_is_no_formula_and_has_one_line(tmp_path: Path) -> None:
    labels = [r"$\frac{1}$", "a\n\x1b[2Jb"]

    assert shorten_name(labels[1]).isprintable()
    plots = [
        confusion_plot(np.eye(2, 3, dtype=np.int64), labels, "other", "pictures", labels[0]),
        contact_sheet("sheet.png", [Thumbnail(pixels=np.zeros((8, 8, 3), np.uint8), title=labels[0])], labels[0], ""),
    ]
    assert len(save_plots(plots, tmp_path)) == 2
