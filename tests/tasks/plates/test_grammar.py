"""Grammars of plates: the built-in one, another one, and files that are none."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from services.processes import ROOT

from shardline.tasks.plates.grammar import OPTION, built_in, check_options, option_grammar, parse_grammar, read_grammar
from shardline.tasks.plates.task import answers, reply
from shardline.tasks.plates.text import is_text, parse_text, random_text
from shardline.tasks.request import Request
from shardline.wire.errors import BundleError, UsageError
from shardline.wire.view import View

EUROPEAN = ROOT / "examples" / "grammars" / "european.yaml"


def altered(*path: Any, value: Any) -> str:
    """The built-in grammar's file with another value at a path of keys."""
    document = yaml.safe_load(built_in().source)
    at = document
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return yaml.safe_dump(document)


def test_the_built_in_grammar_has_the_classes_of_the_detector_that_ships() -> None:
    grammar = built_in()

    assert list(grammar.classes) == [
        *("r_board", "l_board", "r_s_n", "r_m_n", "l_s_n", "l_m_n"),
        *"0123456789abcde",
    ]
    assert [group.name for group in grammar.groups] == ["sub_text", "main_text"]
    assert grammar.columns == (slice(0, 3), slice(3, 7))
    assert grammar.is_built_in
    assert read_grammar(None) == grammar


def test_another_grammar() -> None:
    grammar = read_grammar(EUROPEAN)
    text = random_text(np.random.default_rng(0), grammar)

    assert grammar.boards == ("l_board",)
    assert grammar.group_classes == ("l_s_n", "l_m_n")
    assert len(grammar.characters) == 34
    assert not grammar.is_built_in
    assert parse_text(str(text).lower(), grammar) == text
    assert is_text("AB12CDE", grammar)
    assert not is_text("AB12CD3", grammar)
    assert not is_text("12A 3456", grammar)


def test_a_bundle_carries_the_text_of_the_file() -> None:
    source = EUROPEAN.read_text(encoding="utf-8")

    assert option_grammar({OPTION: source}) == read_grammar(EUROPEAN)
    assert option_grammar({}) == built_in()
    check_options({OPTION: source})


def test_a_plate_of_another_grammar_is_read_by_the_bundle_s_option() -> None:
    """The reply has the grammar's groups and type, and all its characters."""
    grammar = read_grammar(EUROPEAN)
    text = "KX42WJZ"
    boxes, scores = np.zeros((1, 7, 4), np.float32), np.zeros((1, 7, 34), np.float32)
    for place, character in enumerate(text):
        left = 20 + 25 * place + (20 if place > 3 else 0)
        boxes[0, place] = left, 30, left + 18, 60
        scores[0, place, grammar.characters.index(character)] = 0.95
    groups = np.array([[[20, 30, 113, 60], [140, 30, 208, 60]]], np.float32)
    outputs = {
        "board_boxes": np.array([[[10, 20, 218, 70]]], np.float32),
        "board_scores": np.full((1, 1, 1), 0.95, np.float32),
        "board_turns": np.array([[[1, 0]]], np.float32),
        "group_boxes": groups,
        "group_scores": np.eye(2, dtype=np.float32)[None] * 0.95,
        "character_boxes": boxes,
        "character_scores": scores,
    }
    request = Request(outputs=outputs, options={OPTION: grammar.source}, views=(View(width=256, height=128),))

    [[found]] = reply(request)

    assert (found["type"], found["sub_text"], found["main_text"]) == ("long", "KX42", "WJZ")
    assert "".join(character["character"] for character in found["characters"]) == text
    assert found["candidates"][0]["main_text"] == "WJZ"
    assert answers(outputs, request.options) == [(("long", "KX42", "WJZ"),)]
    with pytest.raises(BundleError, match="plates needs the seven"):
        reply(Request(outputs=outputs, views=request.views))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grammer": "x"}, "no option grammer; allowed: grammar"),
        ({OPTION: "name: x"}, "lacks alphabets, groups, types: build the bundle again"),
        ({OPTION: 3}, "the file is 3; allowed: a mapping"),
    ],
)
def test_options_of_a_bundle_that_are_wrong(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        check_options(options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "is not YAML"),
        ("- 1", "the file is .*; allowed: a mapping with name"),
        (altered("colour", value=1), "the file has colour; allowed: name"),
        (altered("name", value=5), "name: found 5"),
        (altered("alphabets", value={}), "alphabets: give a symbol"),
        (altered("alphabets", "A", value="abc"), "alphabet A: found 'abc'; allowed: digits and capital letters"),
        (altered("alphabets", "A", value="AA"), "'AA' has a character twice"),
        (altered("groups", value=[]), "groups: found .*; allowed: a list of 1 to 4"),
        (altered("groups", 0, "positions", value="00X"), "group 1: '00X' has X; alphabets: 0, A"),
        (altered("groups", 0, "positions", value=0), "group 1: positions: found 0; allowed: symbols"),
        (altered("groups", 0, "positions", value="0" * 17), "21 positions; allowed: 16 at most"),
        (altered("groups", 0, "name", value="score"), "group 1: score is another key of a reply"),
        (altered("groups", 0, "name", value="main_text"), "names of groups are main_text, main_text"),
        (altered("groups", 0, "class", value="m"), "classes of groups are m, m"),
        (altered("types", 0, "class", value="l"), "classes of types are l, l"),
        (altered("types", 0, "rows", value=[["main_text"], ["sub_text"]]), "type 1: rows hold"),
        (altered("types", 0, "rows", value=[["sub_text"]] * 3), "type 1: rows: found .*; allowed: a list of 1 to 2"),
        (altered("types", 0, "aspect", "drawn", value=[3, 4]), "type 1: aspect: drawn .* must lie within read"),
        (altered("types", 0, "aspect", "usual", value="wide"), "type 1: aspect: usual: found .*; allowed: 1 of the"),
        (altered("separator", value="--"), "separator: found '--'"),
        (altered("colours", value=[["white", "black"]]), "colours 1: found 'white'; allowed: two colours in quotes"),
    ],
)
def test_what_is_no_grammar_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as refused:
        parse_grammar(text, "plates.yaml")

    assert str(refused.value).startswith("the grammar plates.yaml")
    assert "\n" not in str(refused.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    binary, large = tmp_path / "binary", tmp_path / "large"
    binary.write_bytes(b"\xff\xfe")
    large.write_bytes(b"#" * 70_000)

    for path, message in (
        (tmp_path / "none", "cannot be read: No such file"),
        (binary, "is not UTF-8"),
        (large, "65536"),
    ):
        with pytest.raises(UsageError, match=message):
            read_grammar(path)
