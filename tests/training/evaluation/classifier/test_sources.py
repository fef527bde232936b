"""Reading raw predictions of a classifier."""

from pathlib import Path

import pytest

from shardline.training.evaluation.classifier.sources import ClassifierSources, read_prediction
from shardline.wire.errors import UsageError

ANIMALS = ("ant", "bee", "cat", "dog", "eel", "fly")


@pytest.mark.parametrize(
    "prediction",
    [
        None,
        [],
        {},
        {"top": []},
        {"top": [{"label": "ant", "index": 1, "score": 1.0}]},  # class 0 is not listed
        {"top": [{"label": "ant", "index": "x", "score": 1.0}]},
        {"top": [{"label": "ant", "score": 1.0}]},
        {"type": "long", "sub_text": "12A"},
    ],
)
def test_a_reply_of_another_task(prediction: object) -> None:
    assert read_prediction(prediction) is None


def test_a_local_classifier_gives_scores_of_all_classes(small_bundle: Path, photographs: list[bytes]) -> None:
    chain, whole = ClassifierSources(program="portable").open_source(small_bundle)
    found, expected = chain.predict(photographs[0]), whole.predict(photographs[0])

    assert len(found.labels) == len(found.scores) == 10
    assert found.scores.sum() == pytest.approx(1, abs=1e-3)
    assert found.scores[found.order].tolist() == sorted(found.scores.tolist(), reverse=True)
    assert found.scores.tolist() == expected.scores.tolist()
    assert found.outputs is not None


def test_a_model_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()

    with pytest.raises(UsageError, match=r"is not the folder of a bundle, an exported program \(.pt2\)"):
        ClassifierSources(program="portable").open_source(tmp_path / "notes.txt")
