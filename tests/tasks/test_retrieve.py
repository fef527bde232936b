"""Predictions from neighbours: votes, parameters, and what is refused."""

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from services.embeddings import WIDTH, index_of, reply, vectors

from shardline.tasks.faiss_index import FaissIndex, make_index, open_index
from shardline.tasks.index import (
    INDEX_KINDS,
    IndexKind,
)
from shardline.tasks.registry import task_code
from shardline.tasks.request import Request
from shardline.tasks.retrieve import reply as reply_to
from shardline.tasks.retrieve import vote
from shardline.wire.errors import BundleError, RequestError, ShardlineError


@pytest.fixture(scope="module", params=INDEX_KINDS)
def index(request: pytest.FixtureRequest) -> FaissIndex:
    """An index of each kind with 400 vectors."""
    return index_of(400, request.param)


def test_a_prediction() -> None:
    made = make_index(np.eye(4), ["a", "b", "c", "d"], ["x", "y", "y", None], kind="flat", metric="l2")

    [prediction] = reply(np.array([[1, 0.5, 0.25, 0]], "f4"), made, k=3)

    assert prediction == {
        "pred": "y",
        "dist": [0.559017, 1.145644, 1.346291],
        "ids": ["a", "b", "c"],
        "labels": ["x", "y", "y"],
    }
    assert json.loads(json.dumps([prediction], allow_nan=False)) == [prediction]


def test_half_precision_and_other_outputs_beside_the_embedding() -> None:
    made = index_of(50)
    outputs = {"map": np.zeros((2, 3, 4), "f4"), "count": np.zeros((2, 3), "i8"), "embedding": vectors(2).astype("f2")}

    assert len(reply_to(Request(outputs=outputs, index=made))) == 2


def test_k_is_five_and_at_most_what_there_is(index: FaissIndex) -> None:
    assert all(0 < len(prediction["ids"]) <= 400 for prediction in reply(vectors(2), index, k=1000))
    assert all(len(prediction["ids"]) == 5 for prediction in reply(vectors(3), index_of(30)))
    assert all(len(prediction["ids"]) == 2 for prediction in reply(vectors(3), index_of(2)))


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "c", None]), max_size=9))
def test_the_vote_is_the_most_frequent_label_the_nearest_first(labels: list[str | None]) -> None:
    counts = Counter(label for label in labels if label is not None)

    voted = vote(labels)

    if voted is None:
        assert not counts
    else:
        assert counts[voted] == max(counts.values())
        tied = [label for label in counts if counts[label] == counts[voted]]
        assert min(tied, key=labels.index) == voted


PARAMETERS: dict[str, tuple[IndexKind, dict[str, Any], str]] = {
    "no neighbour": ("flat", {"k": 0}, "parameter k is '0'; allowed: a whole number from 1 to 1000"),
    "k is text": ("flat", {"k": "3"}, "parameter k is '3'"),
    "k is a bool": ("flat", {"k": True}, "parameter k is 'True'"),
    "k is null": ("flat", {"k": None}, "parameter k is 'None'"),
    "k is a fraction": ("flat", {"k": 2.5}, "parameter k is '2.5'"),
    "too many": ("flat", {"k": 1001}, "from 1 to 1000"),
    "another task's": ("flat", {"top": 3}, "unknown parameters top; allowed: efSearch, k, nprobe, timings"),
    "nprobe of a flat one": ("flat", {"nprobe": 3}, "nprobe is not for this bundle's index, which is flat"),
    "nprobe of hnsw": ("hnsw", {"nprobe": 3}, "which is hnsw and takes efSearch"),
    "efSearch of ivf": ("ivf", {"efSearch": 3}, "which is ivf and takes nprobe"),
    "no list": ("ivf", {"nprobe": 0}, "parameter nprobe is '0'; allowed: a whole number from 1 to 10"),
    "more lists than there are": ("ivf", {"nprobe": 11}, "from 1 to 10"),
    "efSearch without end": ("hnsw", {"efSearch": 10**9}, "from 1 to 1024"),
}


@pytest.mark.parametrize("case", PARAMETERS)
def test_a_wrong_parameter_is_the_client_s_fault(case: str) -> None:
    kind, parameters, message = PARAMETERS[case]

    with pytest.raises(RequestError) as caught:
        reply(vectors(1), index_of(400, kind), **parameters)

    assert message in str(caught.value)
    assert caught.value.status == 400


def test_effort_may_be_asked_for() -> None:
    ivf, exact = index_of(400, "ivf"), index_of(400)
    asked = vectors(20, 9)

    assert reply(asked, ivf, nprobe=10, k=9) == reply(asked, exact, k=9)
    assert reply(asked, ivf, nprobe=1, k=300) != reply(asked, exact, k=300)
    assert len(reply(asked, index_of(400, "hnsw"), efSearch=64)) == 20


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_embedding_that_is_no_number_is_the_model_s_fault(value: float) -> None:
    embedding = vectors(3)
    embedding[1, 2] = value

    with pytest.raises(ShardlineError, match="NaN or infinity for instance 1"):
        reply(embedding, index_of(9))


def test_without_an_embedding_or_an_index() -> None:
    with pytest.raises(BundleError, match=r"outputs are map float32\[1, 2, 2\]; retrieve needs float \[batch, width\]"):
        reply_to(Request(outputs={"map": np.zeros((1, 2, 2), "f4")}, index=index_of(9)))
    with pytest.raises(BundleError, match="shardline index build"):
        reply(vectors(1), None)


def test_a_vector_of_zeros_is_like_none() -> None:
    [prediction] = reply(np.zeros((1, WIDTH), "f4"), index_of(9), k=9)

    assert prediction["dist"] == [1.0] * 9


def test_the_task_is_registered_and_compares_embeddings() -> None:
    code = task_code("retrieve")
    outputs = {"embedding": vectors(2)}

    assert code.labels is not None
    assert (code.labels({}), code.answers(outputs, {}), code.comparable(outputs, {})) == ((), None, outputs)
    assert code.open_index is open_index
