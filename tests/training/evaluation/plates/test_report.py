"""Tables and plots of a report on a plate detector, with and without boxes and photographs."""

from pathlib import Path

import pytest
from services.knowing_detector import Knowing

from shardline.training.evaluation.plates.evaluate import evaluate
from shardline.training.evaluation.plates.pictures import PlatePicture
from shardline.training.evaluation.plates.report import plate_page
from shardline.training.evaluation.plots import save_plots
from shardline.training.evaluation.report import ReportTable


@pytest.mark.parametrize("boxes", [True, False])
def test_a_page(drawn: list[PlatePicture], boxes: bool, tmp_path: Path) -> None:
    """The photographs without plates have plates, so that there are false positives."""
    source = Knowing(drawn) if boxes else Knowing(drawn, boxes=None)
    report, misses = evaluate(drawn, [source], 0.7, plain=drawn[:2])
    page = plate_page(report, [miss.thumbnail() for miss in misses], "drawn plates")
    tables = [table for table in page.tables if isinstance(table, ReportTable)]
    files = {path.name for path in save_plots(page.plots, tmp_path)}

    assert page.lead == f"{len(drawn)} pictures of drawn plates, threshold 0.7."
    assert tables[0].title.split(",")[0] == f"{len(drawn)} pictures"
    assert len(tables) == (3 if boxes else 2)
    assert ("confusion.png" in files) == ("precision_recall.png" in files) == boxes
    assert {"readings.png", "calibration.png"} <= files
    assert ("misses.png" in files) == bool(misses)


def test_widths_are_compared_with_what_is_wanted(drawn: list[PlatePicture]) -> None:
    report, _ = evaluate(drawn, [Knowing(drawn)], 0.7)
    tables = [table for table in plate_page(report, [], "").tables if isinstance(table, ReportTable)]
    readings = next(table for table in tables if "wanted" in table.columns)
    rows = {row[0]: row[-1] for group in readings.groups for row in group}

    assert {name: wanted for name, wanted in rows.items() if wanted} == {
        name: wanted
        for name, wanted in [
            ("width in the input 64–96 px", "92 %"),
            ("width in the input 96–128 px", "99 %"),
            ("width in the input 128 px and more", "99 %"),
        ]
        if name in rows
    }
