"""Weights of one grammar begin the training of another: what both have is taken over."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from shardline.tasks.plates.grammar import PlateGrammar, built_in, read_grammar
from shardline.training.detector.model import PlateDetector
from shardline.training.detector.transfer import transfer
from shardline.wire.errors import ModelError

EUROPEAN = read_grammar(Path(__file__).parents[3] / "examples/grammars/european.yaml")


@pytest.fixture(scope="module")
def known() -> dict[str, Tensor]:
    return detector(built_in(), 1).state_dict()


def detector(grammar: PlateGrammar, seed: int) -> PlateDetector:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PlateDetector(grammar=grammar)


def test_what_both_grammars_have_is_taken_over(known: dict[str, Tensor]) -> None:
    first = detector(EUROPEAN, 2)
    new = first.state_dict()["reader.places.weight"].clone()
    found = transfer(known, built_in(), first)
    first.load_state_dict(found.weights)
    rows = first.state_dict()["reader.places.weight"]

    assert first.state_dict()["layers.1.0.0.weight"].equal(known["layers.1.0.0.weight"])
    for character in EUROPEAN.characters:
        place = EUROPEAN.characters.index(character)
        both = character in built_in().characters
        expected = known["reader.places.weight"][built_in().characters.index(character)] if both else new[place]
        assert rows[place].equal(expected)
    assert first.state_dict()["text_reader.places.bias"][-1] == known["text_reader.places.bias"][-1]
    long = 4 * (1 + built_in().boards.index("l_board"))
    assert first.state_dict()["boards.places.bias"][4:8].equal(known["boards.places.bias"][long : long + 4])
    assert first.state_dict()["boards.places.bias"][8:].equal(known["boards.places.bias"][12:])


def test_the_report_names_the_layers_that_are_new_in_part(known: dict[str, Tensor]) -> None:
    report = transfer(known, built_in(), detector(EUROPEAN, 2)).report

    assert report.startswith("118 tensors taken over from weights of another grammar; ")
    assert report.endswith(
        "reader.places.bias, reader.places.weight, text_reader.places.bias, text_reader.places.weight"
    )


def test_weights_of_another_grammar_than_they_say_are_refused(known: dict[str, Tensor]) -> None:
    with pytest.raises(ModelError, match=r"are not those of a detector for the grammar european, e\.g\. boards"):
        transfer(known, EUROPEAN, detector(built_in(), 2))
