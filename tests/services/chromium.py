"""A page in a real browser, headless: which pictures it shows, and what it complains about."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import pytest

_DEADLINE_S = 120
# Chromium's own log has one such line for each message of a page's console
_CONSOLE = re.compile(r"CONSOLE[:(]\d*\)?\S* (?P<message>.*)")
# appended to a copy of the page; what it finds is left in the document, which is then dumped
_PROBE = """
<script>
addEventListener("load", () => {
  const pictures = [...document.images].map(each => ({
    alt: each.alt, loaded: each.complete && each.naturalWidth > 0, width: each.getBoundingClientRect().width
  }));
  const found = {
    title: document.title, pictures, across: document.documentElement.scrollWidth, window: innerWidth
  };
  document.body.setAttribute("data-found", encodeURIComponent(JSON.stringify(found)));
});
</script>
"""
_FOUND = re.compile(r'data-found="(?P<found>[^"]*)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    alt: str
    loaded: bool
    width: float  # as shown, in CSS pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """`too_wide` says that the page must be moved sideways to be read."""

    title: str
    pictures: tuple[Picture, ...]
    console: tuple[str, ...]
    too_wide: bool


def open_page(page: Path, folder: Path, *, width: int = 1280) -> Opened:
    """Open a copy of `page`, which must need no other file, alone in `folder`; skips where there is no Chromium."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    copy = folder / "alone.html"
    copy.write_text(page.read_text(encoding="utf-8").replace("</body>", f"{_PROBE}</body>"), encoding="utf-8")
    command = [
        *(program, "--headless", "--disable-gpu", "--no-first-run", f"--user-data-dir={folder / 'profile'}"),
        "--no-sandbox",  # which root may not have; the page is our own
        *("--enable-logging=stderr", "--host-resolver-rules=MAP * ~NOTFOUND", f"--window-size={width},900"),
        *("--virtual-time-budget=10000", "--dump-dom", copy.as_uri()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_DEADLINE_S, check=True)
    match = _FOUND.search(done.stdout)
    assert match is not None, done.stderr
    found = json.loads(unquote(match["found"]))
    return Opened(
        title=found["title"],
        pictures=tuple(Picture(**each) for each in found["pictures"]),
        console=tuple(each["message"] for each in _CONSOLE.finditer(done.stderr)),
        too_wide=found["across"] > found["window"],
    )
