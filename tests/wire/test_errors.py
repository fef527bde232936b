"""Errors and their HTTP statuses. That the tree in the docstring is true is in tests/policy/test_docs.py."""

import inspect

import pytest

from shardline.wire import errors
from shardline.wire.errors import PredictorError, RequestError, ShardlineError

CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, ShardlineError)]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_is_one_of_ours_with_a_status(kind: type[ShardlineError]) -> None:
    assert kind.__module__ == errors.__name__
    assert 400 <= kind.status < 500 if issubclass(kind, RequestError) else 500 <= kind.status < 600
    assert kind.__name__.endswith("Error")


def test_only_what_passes_says_when_to_come_back() -> None:
    retried = {kind.__name__ for kind in CLASSES if kind.retry_after_s is not None}

    assert retried == {"QueueFullError", "PredictorDownError"}


def test_a_predictor_s_status_is_kept() -> None:
    error = PredictorError("queue is full", 503, 2)

    assert (str(error), error.status, error.retry_after_s) == ("queue is full", 503, 2)
