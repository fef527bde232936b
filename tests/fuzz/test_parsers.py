"""Every parser with inputs by hypothesis: cut, changed and joined pieces of its corpus, and any bytes."""

from collections.abc import Callable

import pytest
from fuzz.parsers import CORPUS, PARSERS, seeds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EXAMPLES = 60  # of each parser; `make fuzz` has the time for more


def changed(data: bytes) -> st.SearchStrategy[bytes]:
    """One or two places of `data` replaced by other bytes, which may be none."""
    at = st.integers(0, len(data))
    return st.tuples(at, at, st.binary(max_size=8)).map(
        lambda cut: data[: min(cut[:2])] + cut[2] + data[max(cut[:2]) :]
    )


def inputs(name: str) -> st.SearchStrategy[bytes]:
    corpus = st.sampled_from(seeds(name))
    return st.one_of(corpus.flatmap(changed), corpus.flatmap(changed).flatmap(changed), st.binary(max_size=64))


@pytest.mark.parametrize("name", PARSERS)
def test_nothing_but_our_own_errors(name: str) -> None:
    _run(PARSERS[name], inputs(name))


@pytest.mark.parametrize("name", PARSERS)
def test_the_corpus(name: str) -> None:
    """Reproducers of bugs that a fuzzer found stay in the corpus."""
    for data in seeds(name):
        PARSERS[name](data)


def test_corpora_are_small() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(PARSERS)
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < 64 * 1024


def _run(parse: Callable[[bytes], None], strategy: st.SearchStrategy[bytes]) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(strategy)
    def run(data: bytes) -> None:
        parse(data)

    run()
