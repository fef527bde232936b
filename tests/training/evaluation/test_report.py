"""The folder of a report: its JSON, its plots, and a page that escapes names; lines about differences."""

import hashlib
import json
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from shardline.training.evaluation.metrics import SourceDifference, proportion
from shardline.training.evaluation.plots import Plot
from shardline.training.evaluation.report import (
    PAGE,
    REPORT,
    Evaluation,
    ReportPage,
    ReportTable,
    complete,
    difference_lines,
    format_number,
    format_percent,
    format_with_interval,
    make_report_folder,
    write_report,
)
from shardline.training.evaluation.run import Advance, EvaluationRun
from shardline.wire.errors import FileError


def draw_axes(figure: Figure) -> None:
    figure.subplots()


PAGE_CONTENT = ReportPage(
    title="Evaluation of <it>\N{RIGHT-TO-LEFT OVERRIDE}",
    lead="Two pictures.",
    tables=[ReportTable(title="numbers", columns=("", "it"), groups=((("a & b", "1"),),)), "a remark"],
    plots=[Plot(file="a.png", size=(2, 1), draw=draw_axes, title="Nothing", alt="An axis.")],
)


def test_a_report_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "report"
    make_report_folder(folder)
    write_report(Evaluation(document={"pictures": 2}, page=PAGE_CONTENT), folder)
    page = (folder / PAGE).read_text(encoding="utf-8")

    assert json.loads((folder / REPORT).read_text()) == {"pictures": 2}
    assert (folder / "a.png").is_file()
    for text in (
        "Evaluation of &lt;it&gt;\N{REPLACEMENT CHARACTER}",
        "a &amp; b",
        "<li>a remark</li>",
        'width="240" height="120"',
        "data:image",
    ):
        assert text in page
    assert "<script" not in page


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(FileError, match=r"--out .*file/report cannot be written"):
        make_report_folder(tmp_path / "file" / "report")
    with pytest.raises(FileError, match="cannot be written"):
        write_report(Evaluation(document={}, page=PAGE_CONTENT), tmp_path / "none")


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_report_folder(None)
    write_report(Evaluation(document={}, page=PAGE_CONTENT), None)

    assert list(tmp_path.iterdir()) == []


def test_numbers_and_percents() -> None:
    assert (format_number(None), format_number(0.5), format_number(2, 1)) == ("-", "0.5000", "2.0")
    assert format_percent(proportion("all", 8, 10)) == ("80.0 %", "49.0–94.3")
    assert format_with_interval(proportion("all", 8, 10)) == "80.0 % (49.0–94.3)"
    assert (format_percent(proportion("all", 0, 0)), format_with_interval(proportion("all", 0, 0))) == (("-", "-"), "-")


def test_lines_about_differences() -> None:
    exact = SourceDifference(name="whole", pictures=3, equal=3, max_abs_difference=0.0, same=3, others=())
    served = SourceDifference(name="url", pictures=3, equal=None, max_abs_difference=None, same=2, others=("a",))

    assert difference_lines([exact, served], "chain", "plates") == [
        "whole and chain: 3 of 3 pictures equal to the bit, max abs difference 0; the same plates in 3 of 3 pictures",
        "url and chain: the same plates in 2 of 3 pictures",
    ]


def test_a_report_says_when_how_and_of_what_it_was_made(tmp_path: Path) -> None:
    bundle, weights, folder = tmp_path / "bundle", tmp_path / "net.pt2", tmp_path / "report"
    bundle.mkdir()
    (bundle / "bundle.json").write_bytes(b"{}")
    weights.write_bytes(b"weights")
    make_report_folder(folder)
    run = EvaluationRun(
        model=bundle,
        url=None,
        against=(weights,),
        out=folder,
        command="shardline evaluate <it>",
        progress=print,
        bar=bar,
    )
    complete(run, {"pictures": 2}, PAGE_CONTENT)
    found = json.loads((folder / REPORT).read_text())
    page = (folder / PAGE).read_text(encoding="utf-8")

    assert (found["pictures"], found["command"]) == (2, "shardline evaluate <it>")
    assert found["digests"] == {
        str(bundle): f"sha256:{hashlib.sha256(b'{}').hexdigest()}",
        str(weights): f"sha256:{hashlib.sha256(b'weights').hexdigest()}",
    }
    assert abs((datetime.now(UTC) - datetime.fromisoformat(found["date"].replace(" UTC", "+00:00"))).days) <= 1
    for text in ("shardline evaluate &lt;it&gt;", found["digests"][str(bundle)], found["date"]):
        assert f"<dd>{text}</dd>" in page


def bar(_: int) -> AbstractContextManager[Advance]:
    return nullcontext(lambda: None)
