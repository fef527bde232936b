"""Pictures in a terminal: half blocks, and the sequences of kitty and iTerm2."""

import base64
import io
import re

import pytest
from PIL import Image

from shardline.client.preview import half_blocks, inline, preview_lines, terminal_protocol
from shardline.client.target import Reply


def test_two_pixels_stand_in_a_character() -> None:
    image = Image.new("RGB", (1, 3), (1, 2, 3))
    image.putpixel((0, 1), (9, 8, 7))

    assert half_blocks(image) == [
        "  \x1b[38;2;1;2;3;48;2;9;8;7m▀\x1b[0m",
        "  \x1b[38;2;1;2;3;48;2;0;0;0m▀\x1b[0m",
    ]


def test_a_preview_has_the_boxes_of_a_large_picture() -> None:
    file = io.BytesIO()
    Image.new("RGB", (1000, 800), "white").save(file, "PNG")
    box = {"label": "cat", "index": 0, "score": 0.9, "box": [100, 100, 900, 700]}
    lines = preview_lines(file.getvalue(), Reply(predictions=({"boxes": [box]},), timings=None, seconds=0.0))

    assert len(lines) <= 24
    assert len({line.count("▀") for line in lines}) == 1
    assert any("38;2;230;25;75" in line for line in lines)


@pytest.mark.parametrize(
    ("environment", "protocol"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM_PROGRAM": "WezTerm"}, "iterm"),
        ({"TERM_PROGRAM": "iTerm.app", "TMUX": "x"}, None),
        ({"TERM": "xterm-256color"}, None),
    ],
)
def test_terminals_say_what_they_can(environment: dict[str, str], protocol: str | None) -> None:
    assert terminal_protocol(environment) == protocol


def test_pictures_are_sent_in_the_terminals_protocol() -> None:
    image = Image.effect_noise((200, 200), 90).convert("RGB")
    kitty = inline(image, "kitty")
    iterm = inline(image, "iterm")

    chunks = re.findall(r"\x1b_G(.*?);(.*?)\x1b\\", kitty)
    assert chunks[0][0] == "a=T,f=100,m=1"
    assert chunks[-1][0] == "m=0"
    assert max(len(data) for _, data in chunks) == 4096
    for data in ("".join(data for _, data in chunks), iterm.removesuffix("\x07").partition(":")[2]):
        with Image.open(io.BytesIO(base64.b64decode(data))) as shown:
            assert shown.size == (200, 200)
