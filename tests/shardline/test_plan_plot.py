"""The plot of a plan, as a file of each format."""

from pathlib import Path

import pytest
from PIL import Image
from services.cli import run_command

pytest.importorskip("matplotlib")

SMALL = ("plan", "services.small_models:residual", "--size", "32", "--cuts", "one,two", "--limit", "64Ki")


@pytest.mark.slow
def test_plot_shows_stages_cuts_and_the_limit(tmp_path: Path) -> None:
    run_command(*SMALL, "--plot", str(tmp_path / "plan.svg"))
    text = (tmp_path / "plan.svg").read_text(encoding="utf-8")

    assert text.startswith("<?xml")
    run_command(*SMALL, "--plot", str(tmp_path / "plan.png"))
    with Image.open(tmp_path / "plan.png") as drawn:
        assert drawn.width >= 1000
        assert len(drawn.convert("RGB").getcolors(drawn.width * drawn.height) or []) > 5
