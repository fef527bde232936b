"""Predictions of a retrieval as values, and the parameters of its requests."""

import pytest

from shardline.client.neighbours import Neighbour, Retrieved, read_neighbours, retrieval_parameters


def test_neighbours_are_read_with_their_vote() -> None:
    read = read_neighbours({"pred": "7", "dist": [0, 1.5], "ids": ["a", "b"], "labels": ["7", None]})

    assert read == Retrieved(
        vote="7",
        neighbours=(
            Neighbour(name="a", label="7", distance=0.0),
            Neighbour(name="b", label=None, distance=1.5),
        ),
    )


@pytest.mark.parametrize(
    "prediction",
    [
        None,
        [],
        {"pred": "7", "dist": [0.5], "ids": ["a"]},
        {"pred": "7", "dist": [0.5], "ids": ["a"], "labels": ["7", "8"]},
        {"pred": 7, "dist": [0.5], "ids": ["a"], "labels": ["7"]},
        {"pred": "7", "dist": ["near"], "ids": ["a"], "labels": ["7"]},
        {"pred": "7", "dist": [0.5], "ids": [3], "labels": ["7"]},
    ],
)
def test_other_predictions_are_not_read(prediction: object) -> None:
    assert read_neighbours(prediction) is None


def test_only_given_parameters_are_sent() -> None:
    assert retrieval_parameters(None, None) == {}
    assert retrieval_parameters(10, 4, 64) == {"k": 10, "nprobe": 4, "efSearch": 64}
