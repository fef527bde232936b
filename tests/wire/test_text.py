"""Texts from outside: what moves a cursor, ends a line or turns the direction of a text is replaced, nothing else."""

import pytest

from shardline.wire.text import printable


@pytest.mark.parametrize("text", ["cat", "Ångström", "猫", "chat\N{NO-BREAK SPACE}noir", "k = 3 [a]", "😀", ""])
def test_what_can_be_shown_stays(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    "hostile",
    [
        "\x1b[2J",
        "a\nb",
        "a\rb",
        "\x00",
        "\x7f",
        "\x9b31m",
        "\N{RIGHT-TO-LEFT OVERRIDE}gpj",
        "\N{LINE SEPARATOR}",
        "\udc80",
    ],
)
def test_what_controls_a_terminal_is_replaced(hostile: str) -> None:
    shown = printable(hostile)

    assert shown.isprintable()
    assert "\N{REPLACEMENT CHARACTER}" in shown
    assert len(shown) == len(hostile)
