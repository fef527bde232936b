"""Report of a detector's evaluation: its tables and plots."""

from collections.abc import Iterator, Sequence

from matplotlib.figure import Figure

from shardline.training.evaluation.coco import RECALLS, BoxClassMetrics
from shardline.training.evaluation.detector.metrics import DetectorMetrics, DetectorReport
from shardline.training.evaluation.plots import Plot, PlotCurve, Thumbnail, contact_sheet, draw_curves
from shardline.training.evaluation.report import ReportPage, ReportTable, difference_lines, format_number

_MOST_CURVES = 12  # classes whose curves can be distinguished


def detector_page(report: DetectorReport, mistakes: Sequence[Thumbnail], data: str) -> ReportPage:
    """The page about a report; `data` is where the pictures come from."""
    return ReportPage(
        title=f"Evaluation of {report.sides[0].name}",
        lead=f"{report.pictures} pictures of {data}, threshold {report.threshold:g}.",
        tables=list(_tables(report)),
        plots=list(_plots(report.sides[0], mistakes)),
    )


def _tables(report: DetectorReport) -> Iterator[ReportTable | str]:
    """Yield tables and remarks, in the order in which they are read."""
    first = report.sides[0]
    objects = str(sum(found.things for found in first.classes))
    yield ReportTable(
        title=f"{report.pictures} pictures",
        columns=("", *(side.name for side in report.sides)),
        groups=(
            (
                ("mAP@0.5:0.95", *(format_number(side.map) for side in report.sides)),
                ("mAP@0.5", *(format_number(side.map50) for side in report.sides)),
                ("objects", *(objects for _ in report.sides)),
            ),
        ),
    )
    met = [found for found in first.classes if found.things or found.precision is not None]
    yield ReportTable(
        title=f"classes, {first.name}; at IoU 0.5",
        columns=("class", "objects", f"precision at {report.threshold:g}", "recall", "AP", "AP 0.5:0.95"),
        groups=(tuple((found.label, str(found.things), *map(format_number, _values(found))) for found in met),),
    )
    yield from difference_lines(report.differences, first.name, "objects")


def _values(found: BoxClassMetrics) -> tuple[float | None, ...]:
    return found.precision, found.recall, found.ap50, found.ap


def _plots(side: DetectorMetrics, mistakes: Sequence[Thumbnail]) -> Iterator[Plot]:
    yield Plot(
        file="precision_recall.png",
        size=(7, 6),
        draw=lambda figure: _draw_curves(figure, side),
        title="Precision and recall of boxes",
        alt="Precision against recall at IoU 0.5 of the most frequent classes.",
    )
    if mistakes:
        title = "The worst mistakes: missed objects in green, false positives in red"
        yield contact_sheet("mistakes.png", mistakes, title, f"Contact sheet of {len(mistakes)} mistakes.")


def _draw_curves(figure: Figure, side: DetectorMetrics) -> None:
    axes = figure.subplots()
    frequent = sorted((found for found in side.classes if found.curve is not None), key=lambda found: -found.things)
    curves = [
        PlotCurve(name=f"{found.label}  {found.ap50:.3f}", x=RECALLS, y=found.curve or ())
        for found in frequent[:_MOST_CURVES]
    ]
    draw_curves(axes, curves, "AP at IoU 0.5")
    axes.set_xlabel("recall")
    axes.set_ylabel("precision")
    axes.set_title(f"Precision and recall at IoU 0.5: mAP {format_number(side.map50)}", fontsize=11)
