"""A report as one HTML page that needs nothing else: its pictures are in it, and no script runs."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from shardline.training.evaluation.plots import Drawing
from shardline.training.evaluation.tables import Table

_TEMPLATE = "page.html.jinja"
_PNG_SIZE = slice(16, 24)  # width and height in a PNG's first chunk, big-endian, 4 bytes each


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What stands on it. `lead` says in a sentence what was asked; lines among the tables are remarks."""

    title: str
    lead: str
    tables: Sequence[Table | str]
    drawings: Sequence[Drawing]


def write_page(page: Page, folder: Path, name: str) -> Path:
    """Write a page into the folder where its drawings lie already.

    Raises:
        OSError: a picture cannot be read, or the page not be written.
    """
    template = _environment().get_template(_TEMPLATE)
    text = template.render(
        page=page,
        tables=[each for each in page.tables if isinstance(each, Table)],
        remarks=[each for each in page.tables if isinstance(each, str)],
        figures=[_figure(each, folder) for each in page.drawings],
    )
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def _environment() -> Environment:
    """Whatever a class or a file is called, it is text on the page."""
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _figure(drawing: Drawing, folder: Path) -> dict[str, Any]:
    """`width` and `height` in pixels let a browser keep the place of a picture that it has not yet decoded."""
    png = (folder / drawing.file).read_bytes()
    size = png[_PNG_SIZE]
    return {
        "title": drawing.title,
        "alt": drawing.alt,
        "file": drawing.file,
        "width": int.from_bytes(size[:4], "big"),
        "height": int.from_bytes(size[4:], "big"),
        "data": base64.b64encode(png).decode("ascii"),
    }
