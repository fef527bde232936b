"""What every `shardline evaluate` shows: tables, files and a page."""

import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table as RichTable

from shardline.console import out
from shardline.wire.errors import ModelError

if TYPE_CHECKING:
    from shardline.training.evaluation.page import Page
    from shardline.training.evaluation.tables import Table

REPORT, PAGE = "report.json", "report.html"


def check_libraries(names: Sequence[str]) -> None:
    """
    Raises:
        ModelError: one is not installed.
    """
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise ModelError(f"evaluate needs {', '.join(missing)}: pip install 'shardline[evaluate]'")


def make_folder(folder: Path | None) -> None:
    """Before the work, so that it is not in vain.

    Raises:
        ModelError: nothing can be written there.
    """
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / REPORT).touch()
    except OSError as exc:
        raise _unwritable(folder, exc) from exc


def show_report(document: Mapping[str, Any], page: "Page", folder: Path | None, *, as_json: bool) -> None:
    """Print tables, or the document; write it, the plots and the page into `folder`, where one is named.

    Raises:
        ModelError: a file cannot be written.
    """
    if folder is not None:
        _write(document, page, folder)
    if as_json:
        print(json.dumps(document))
        return
    for each in page.tables:
        out.print(escape(each) if isinstance(each, str) else _rich(each))
    if folder is not None:
        out.print(str(folder))


def _rich(table: "Table") -> RichTable:
    shown = RichTable(title=escape(table.title), title_justify="left")
    for place, column in enumerate(table.columns):
        shown.add_column(escape(column), justify="left" if place == 0 else "right", overflow="fold")
    for group in table.groups:
        shown.add_section()
        for row in group:
            shown.add_row(*map(escape, row))
    return shown


def _write(document: Mapping[str, Any], page: "Page", folder: Path) -> None:
    from shardline.training.evaluation.page import write_page
    from shardline.training.evaluation.plots import draw_all

    try:
        (folder / REPORT).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        draw_all(page.drawings, folder)
        write_page(page, folder, PAGE)
    except OSError as exc:
        raise _unwritable(folder, exc) from exc


def _unwritable(folder: Path, exc: OSError) -> ModelError:
    return ModelError(f"--out {folder} cannot be written: {exc.strerror or exc}")
