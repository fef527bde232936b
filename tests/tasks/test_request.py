"""The input of a task, and the names of its parameters."""

import numpy as np
import pytest

from shardline.tasks.request import Request, check_names
from shardline.wire.errors import RequestError


def test_only_outputs_are_required() -> None:
    request = Request(outputs={"logits": np.zeros((2, 3), np.float32)})

    assert (request.labels, request.parameters, request.views, request.index) == ((), {}, (), None)


def test_known_names() -> None:
    check_names({}, ())
    check_names({"top": 3, "k": None}, {"k", "top", "more"})


@pytest.mark.parametrize("name", ["Top", "threshold", ""])
def test_unknown_names_are_listed_with_the_allowed_ones(name: str) -> None:
    with pytest.raises(RequestError) as raised:
        check_names({"top": 1, name: 2}, {"top"})

    assert str(raised.value) == f"unknown parameters {name}; allowed: timings, top"
