"""Opening the data sources of an evaluation in order, and reading the replies of a served chain."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shardline.training.evaluation.run import Advance, EvaluationRun
from shardline.training.evaluation.served import open_sources


class NamedSources:
    """A factory whose sources are their names."""

    def served(self, url: str) -> str:
        return f"served {url}"

    def open_source(self, model: Path | None) -> list[str]:
        return [f"{model} chain", f"{model} whole"]

    def chain(self, bundle: Path) -> str:
        return f"{bundle} chain"


@contextmanager
def no_bar(_total: int) -> Iterator[Advance]:
    yield lambda: None


@pytest.mark.parametrize(
    ("model", "url", "sources", "messages"),
    [
        (Path("m"), None, ["m chain", "m whole", "b chain"], ["loading m", "loading b"]),
        (None, None, ["None chain", "None whole", "b chain"], ["loading the model that ships", "loading b"]),
        (None, "http://h", ["served http://h", "b chain"], ["loading b"]),
    ],
)
def test_the_evaluated_source_comes_first(
    model: Path | None, url: str | None, sources: list[str], messages: list[str]
) -> None:
    said: list[str] = []
    run = EvaluationRun(model=model, url=url, against=[Path("b")], threads=1, progress=said.append, bar=no_bar)

    assert open_sources(NamedSources(), run) == sources
    assert said == messages
