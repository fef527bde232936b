"""Draw docs/terminal.svg, the terminal in README.md: `python docs/terminal.py`.

The commands run on this machine as they are shown, and the picture holds what they print on stdout. Times differ from
run to run, so no test compares the picture: run this script again when the output of one of the commands changes.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.text import Text

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from shardline.demo import draw_plate

TARGET = Path(__file__).resolve().parent / "terminal.svg"
PHOTOS = Path("bundles") / "photos"
COLUMNS = 119
SEED = 3
# rich's own template loads a font from another host, which pages with a content policy refuse
SVG = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
  <title>A terminal with Shardline's commands and their output</title>
  <style>
    .{unique_id}-matrix {{
      font-family: DejaVu Sans Mono, Menlo, Consolas, monospace; font-size: {char_height}px;
      line-height: {line_height}px; font-variant-east-asian: full-width;
    }}
    {styles}
  </style>
  <defs>
    <clipPath id="{unique_id}-clip-terminal">
      <rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
    </clipPath>
    {lines}
  </defs>
  {chrome}
  <g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
    {backgrounds}
    <g class="{unique_id}-matrix">
    {matrix}
    </g>
  </g>
</svg>
"""


def main() -> None:
    console = Console(record=True, width=COLUMNS, file=sys.stdout)
    run("samples", str(PHOTOS))
    draw_plate(SEED, PHOTOS, PHOTOS / "plate.png")
    for arguments in (
        ("build", "plates", "--stages", "3", "--out", "bundles/plates"),
        ("verify", "bundles/plates", "--images", str(PHOTOS)),
        ("render", "bundles/plates", "--out", "manifests-out"),
    ):
        show(console, arguments, run(*arguments))
    with serving("manifests-out/plates.yaml") as url:
        show(console, ("up", "manifests-out/plates.yaml", "--quiet", "&"), url)
        arguments = ("request", str(PHOTOS / "plate.png"))
        show(console, arguments, run(*arguments))
    console.save_svg(str(TARGET), title="shardline", code_format=SVG, unique_id="terminal")


def run(*arguments: str) -> str:
    """The standard output of a command."""
    command = [sys.executable, "-m", "shardline", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def show(console: Console, arguments: tuple[str, ...], output: str) -> None:
    console.print(Text.assemble(("$ ", "green"), (f"shardline {' '.join(arguments)}", "bold")))
    console.print(Text(output.rstrip("\n")))


@contextmanager
def serving(manifest: str) -> Iterator[str]:
    """The chain of a manifest, ready; the URL that `up` prints."""
    command = [sys.executable, "-m", "shardline", "up", manifest, "--quiet"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline()
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
