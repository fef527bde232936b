"""Progress of a training without a terminal: a line every thousand pictures."""

import pytest

from shardline.progress import TrainingBar


@pytest.mark.parametrize("first", [40, 26_668])
def test_a_line_comes_with_each_thousand_also_after_it_was_resumed(
    first: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with TrainingBar() as bar:
        bar.started(30_000)
        for pictures in (first, first + 500, first + 1000):
            bar.stepped(pictures // 4, pictures, {"sum": 2.0}, 1e-3)

    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{first + (500 if first > 500 else 1000)} pictures: loss 2.00")
    assert not line.endswith(" 0.0 pictures/s")
