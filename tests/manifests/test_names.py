"""Names: what KServe derives from them stays within every limit, or they are refused."""

import re
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shardline.manifests.names import Names, check_graph_argument, names_of
from shardline.manifests.options import RenderOptions
from shardline.manifests.render import render
from shardline.manifests.scaling import Scaling
from shardline.storage.bundle import Bundle
from shardline.wire.errors import ManifestError

NAME = st.from_regex(r"[a-z]([-a-z0-9]{0,62}[a-z0-9])?", fullmatch=True)
NAMESPACE = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


def derived(names: Names) -> list[str]:
    """Derive names as KServe's controllers do, by the rules of the sources of KServe v0.20."""
    components = [f"{service}-{part}" for service, part in product(names.services, ("predictor", "transformer"))]
    graphs = [names.graph] if names.graph else []
    hosts = [f"{service}-{names.namespace}" for service in (*components, *names.services, *graphs)]
    return [*components, *graphs, *hosts]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(name=NAME, namespace=NAMESPACE, stages=st.integers(1, 12), versioned=st.booleans())
def test_names_that_are_taken_fit_everywhere(
    make_bundle: Callable[..., Bundle], name: str, namespace: str, stages: int, versioned: bool
) -> None:
    bundle = make_bundle(stages=stages)
    options = RenderOptions(
        storage="gs://b/m", name=name, namespace=namespace, versioned=versioned, scaling=Scaling(replicas=2)
    )
    try:
        rendered = render(bundle, options)
    except ManifestError:
        return  # test_the_longest_name_that_fits says which
    names = names_of(bundle, name=name, namespace=namespace, versioned=versioned)

    assert [name for name in derived(names) if not DNS_LABEL.fullmatch(name)] == []
    pods = [f"isvc.{stage}" for stage in derived(names)[: 2 * stages]]
    assert [pod for pod in pods if not LABEL_VALUE.fullmatch(pod)] == []
    for document in rendered:
        assert len(document["metadata"]["name"]) <= 253
        assert all(LABEL_VALUE.fullmatch(label) for label in document["metadata"]["labels"].values())


def length_that_fits(bundle: Bundle, **options: Any) -> int:
    for length in range(1, 64):
        try:
            names_of(bundle, name="n" * length, **options)
        except ManifestError:
            return length - 1
    raise AssertionError("63 characters are too long for any name")


def test_the_longest_name_that_fits(make_bundle: Callable[..., Bundle]) -> None:
    """63 characters less '-transformer-default', the stage and the version; or less 'isvc.' and '-transformer'."""
    assert length_that_fits(make_bundle()) == 63 - len("-0-transformer-default")
    assert length_that_fits(make_bundle(stages=11)) == 63 - len("-10-transformer-default")
    assert length_that_fits(make_bundle(), versioned=True) == 63 - len("-01234567-0-transformer-default")
    assert length_that_fits(make_bundle(stages=1), namespace="x") == 63 - len("isvc.-transformer")


def test_a_remedy_names_what_can_be_shortened(make_bundle: Callable[..., Bundle]) -> None:
    with pytest.raises(ManifestError, match="has 67 characters, 63 are allowed: choose a --name shorter by 4"):
        names_of(make_bundle(stages=1), name="n" * 50, namespace="x")
    with pytest.raises(ManifestError, match="choose a --namespace shorter by 2"):
        names_of(make_bundle(), namespace="n" * 65)


def test_a_graph_that_linux_would_not_start_is_refused(make_bundle: Callable[..., Bundle]) -> None:
    """MAX_ARG_STRLEN is 131072 with the final zero byte."""
    names = names_of(make_bundle(stages=700), name="n" * 39)

    with pytest.raises(ManifestError, match=r"the graph of 700 stages takes \d+ bytes as the router's argument"):
        render(make_bundle(stages=700), RenderOptions(storage="gs://b/m", name="n" * 39))
    check_graph_argument({"nodes": {}}, names_of(make_bundle(stages=3)))
    assert len(names.services) == 700
