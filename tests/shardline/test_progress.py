"""Progress without a terminal: a training prints a line every thousand pictures, a transfer one at its end."""

import pytest

from shardline.progress import TrainingBar, byte_bar, count_bar, track


@pytest.mark.parametrize("first", [40, 26_668])
def test_a_line_comes_with_each_thousand_also_after_it_was_resumed(
    first: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with TrainingBar() as bar:
        bar.started(30_000)
        for pictures in (first, first + 500, first + 1000):
            bar.stepped(pictures // 4, pictures, {"sum": 2.0}, 1e-3)

    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{first + (500 if first > 500 else 1000)} pictures: training loss 2.00")
    assert not line.endswith(" 0.0 pictures/s")


def test_losses_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingBar() as bar:
        bar.started(100)
        bar.stepped(1, 10, {"heat": 1.5, "class": 0.5}, 1e-3)
        bar.scored(1, 10, {"score": 0.25, "loss": 1.25})

    assert capsys.readouterr().err == (
        "10 pictures: validation score 0.250, loss 1.250; training loss 2.00, 0.0 pictures/s\n"
    )


def test_a_transfer_ends_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with byte_bar("sending", "sent") as counted:
        counted.begin(3 << 20)
        counted.moved(1 << 20)
        counted.skipped(2 << 20)

    assert capsys.readouterr().err == "sent 1.0 MiB, skipped 2.0 MiB\n"


def test_counting_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with count_bar("drawing", 3) as advance:
        advance()
        advance(2)

    assert list(track("comparing", ["one", "two"])) == ["one", "two"]
    assert capsys.readouterr() == ("", "")
