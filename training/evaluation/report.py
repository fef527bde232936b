"""Report of an evaluation: its tables, report.json, the plots, and one HTML page that contains them all.

The page needs no other file and runs no script. Tables are values, so that a terminal can print them, too.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from shardline.storage.bundle import BUNDLE_FILE
from shardline.training.evaluation.metrics import Proportion, SourceDifference
from shardline.training.evaluation.plots import Plot, save_plots
from shardline.training.evaluation.run import EvaluationRun
from shardline.wire.errors import FileError
from shardline.wire.text import printable

REPORT, PAGE = "report.json", "report.html"

_TEMPLATE = "page.html.jinja"
_PNG_SIZE = slice(16, 24)  # width and height in a PNG's first chunk, big-endian, 4 bytes each

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTable:
    """A table whose first column names what the other columns hold. Rows stand in groups."""

    title: str
    columns: tuple[str, ...]
    groups: tuple[tuple[Row, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPage:
    """Contents of a report. `lead` says in a sentence what was evaluated; strings among the tables are remarks.

    `origin` holds names and values: when and by which command the report was made, and the digests of the models.
    """

    title: str
    lead: str
    tables: Sequence[ReportTable | str]
    plots: Sequence[Plot]
    origin: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Result of an evaluation. `document` is the content of report.json, a JSON object."""

    document: Mapping[str, Any]
    page: ReportPage


def format_number(value: float | None, decimals: int = 4) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"


def format_percent(found: Proportion) -> tuple[str, str]:
    """The proportion and its interval, in percent."""
    if found.share is None or found.low is None or found.high is None:
        return "-", "-"
    return f"{100 * found.share:.1f} %", f"{100 * found.low:.1f}–{100 * found.high:.1f}"


def format_with_interval(found: Proportion) -> str:
    return "-" if found.share is None else "{} ({})".format(*format_percent(found))


def difference_lines(differences: Sequence[SourceDifference], first: str, predictions: str) -> list[str]:
    """One line for each difference; `predictions` is what may be the same, such as "plates"."""
    return [_difference_line(difference, first, predictions) for difference in differences]


def _difference_line(found: SourceDifference, first: str, predictions: str) -> str:
    same = f"the same {predictions} in {found.same} of {found.pictures} pictures"
    if found.max_abs_difference is None:
        return f"{found.name} and {first}: {same}"
    return (
        f"{found.name} and {first}: {found.equal} of {found.pictures} pictures equal to the bit, "
        f"max abs difference {found.max_abs_difference:g}; {same}"
    )


def make_report_folder(folder: Path | None) -> None:
    """Create the folder and report.json in it, before the work starts, so that a wrong one fails early; None: neither.

    Raises:
        FileError: nothing can be written there.
    """
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / REPORT).touch()
    except OSError as exc:
        raise _unwritable(folder, exc) from exc


def complete(run: EvaluationRun, document: Mapping[str, Any], page: ReportPage) -> Evaluation:
    """Add date, command and the models' digests to an evaluation's figures, and write the report.

    Raises:
        FileError: as `write_report`.
    """
    digests = {str(path): _digest(path) for path in (run.model, *run.against) if path is not None}
    date = datetime.now(UTC).isoformat(sep=" ", timespec="seconds").replace("+00:00", " UTC")
    evaluation = Evaluation(
        document={**document, "date": date, "command": run.command, "digests": digests},
        page=replace(page, origin={"date": date, "command": run.command, **digests}),
    )
    write_report(evaluation, run.out)
    return evaluation


def _digest(model: Path) -> str:
    """Digest of a bundle, or of a file."""
    file = model / BUNDLE_FILE if model.is_dir() else model
    with file.open("rb") as opened:
        return f"sha256:{hashlib.file_digest(opened, 'sha256').hexdigest()}"


def write_report(evaluation: Evaluation, folder: Path | None) -> None:
    """Write report.json, the plots and the page into a folder that exists; None: nowhere.

    Raises:
        FileError: a file cannot be written.
    """
    if folder is None:
        return
    try:
        (folder / REPORT).write_text(json.dumps(evaluation.document, indent=1) + "\n", encoding="utf-8")
        save_plots(evaluation.page.plots, folder)
        (folder / PAGE).write_text(_html(evaluation.page, folder), encoding="utf-8")
    except OSError as exc:
        raise _unwritable(folder, exc) from exc


def _unwritable(folder: Path, exc: OSError) -> FileError:
    return FileError(f"--out {folder} cannot be written: {exc.strerror or exc}")


def _html(page: ReportPage, folder: Path) -> str:
    """The page, with the plots that already lie in `folder`."""
    return (
        _environment()
        .get_template(_TEMPLATE)
        .render(
            page=page,
            tables=[table for table in page.tables if isinstance(table, ReportTable)],
            remarks=[remark for remark in page.tables if isinstance(remark, str)],
            figures=[_figure(plot, folder) for plot in page.plots],
        )
    )


def _environment() -> Environment:
    """Jinja2's environment. It escapes all values: names of classes and files are text of one line, never HTML."""
    return Environment(
        finalize=lambda value: printable(value) if isinstance(value, str) else value,
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _figure(plot: Plot, folder: Path) -> dict[str, Any]:
    """Values for the template. With `width` and `height`, in pixels, a browser reserves room before it has decoded."""
    png = (folder / plot.file).read_bytes()
    size = png[_PNG_SIZE]
    return {
        "title": plot.title,
        "alt": plot.alt,
        "file": plot.file,
        "width": int.from_bytes(size[:4], "big"),
        "height": int.from_bytes(size[4:], "big"),
        "data": base64.b64encode(png).decode("ascii"),
    }
