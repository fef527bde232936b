"""The status of a chain, however far its rollout has come."""

from typing import Any

import pytest
from services.kserve_documents import NAMESPACE
from services.versions import Place, Version

from shardline.releases.status import ChainStatus, chain_names, chain_status
from shardline.wire.errors import ClusterError

pytestmark = pytest.mark.slow


def look(place: Place) -> ChainStatus:
    return chain_status(place.cluster, "chain", NAMESPACE)


def test_a_chain_that_answers(place: Place, first: Version) -> None:
    place.deploy(first)
    found = look(place)

    assert found.ready
    assert found.finished
    assert found.live is not None
    assert found.live.lines() == [
        "graph chain: ready (router 1/1)",
        f"stage 0 {first.services[0]}: ready (transformer 1/1, predictor 1/1)",
        f"stage 1 {first.services[1]}: ready (predictor 1/1)",
    ]
    assert found.begun is None


def test_a_transformer_that_is_a_step_is_no_stage(place: Place, first: Version) -> None:
    place.deploy(first, transformer_as="step")
    found = look(place)

    assert found.live is not None
    assert found.live.lines() == [
        "graph chain: ready (router 1/1)",
        f"transformer chain-{first.short}-pre: ready (predictor 1/1)",
        f"stage 0 {first.services[0]}: ready (predictor 1/1)",
        f"stage 1 {first.services[1]}: ready (predictor 1/1)",
    ]


def test_a_first_revision_that_was_begun(make_place: Any, first: Version) -> None:
    place = make_place(first, broken={f"{first.services[0]}-transformer": "error: no bundle"})
    with pytest.raises(ClusterError):
        place.deploy(first, timeout_s=0)
    found = look(place)

    assert found.live is None
    assert found.begun is not None
    assert not found.ready
    assert found.begun.waiting_for() == (
        f"stage 0 {first.services[0]}: transformer 0/1: kserve-container CrashLoopBackOff (exit 1, 3 restarts): "
        "error: no bundle"
    )


def test_a_second_revision_that_was_begun(make_place: Any, first: Version, second: Version) -> None:
    place = make_place(first, second, broken={f"{second.services[1]}-predictor": "error: no bundle"})
    place.deploy(first)
    with pytest.raises(ClusterError):
        place.deploy(second, timeout_s=0)
    found = look(place)

    assert found.live is not None
    assert found.live.ready
    assert [stage.service for stage in found.live.stages] == first.services
    assert found.begun is not None
    assert [stage.service for stage in found.begun.stages] == second.services
    assert not found.ready


def test_a_revision_that_was_switched_to_and_not_finished(make_version: Any, make_place: Any, first: Version) -> None:
    other = make_version("other", router={"status": 500})
    place = make_place(first, other)
    place.deploy(first)
    with pytest.raises(ClusterError):
        place.deploy(other)
    found = look(place)

    assert found.live is not None
    assert [stage.service for stage in found.live.stages] == other.services
    assert found.live.ready
    assert found.begun is None
    assert not found.finished
    assert not found.ready


def test_a_graph_that_was_deleted_by_hand(place: Place, first: Version) -> None:
    place.deploy(first)
    place.cluster.delete("InferenceGraph", NAMESPACE, "chain")
    found = look(place)

    assert not found.ready
    assert found.live is not None
    assert found.live.lines()[0] == "graph chain: there is no InferenceGraph of that name, so nothing serves requests"
    assert all(stage.ready for stage in found.live.stages)


def test_nothing_of_that_name(place: Place, first: Version) -> None:
    place.deploy(first)
    with pytest.raises(ClusterError) as caught:
        chain_status(place.cluster, "cahin", NAMESPACE)

    assert str(caught.value) == (
        "namespace vision has no InferenceGraph or InferenceService 'cahin'; there is InferenceGraph chain in "
        "namespace vision"
    )


def test_every_name(place: Place, first: Version) -> None:
    """Deployed, applied by hand, or only begun; another tool's graph is none of ours."""
    place.deploy(first)
    [graph] = place.cluster.select("InferenceGraph", NAMESPACE)
    for name, labels in {"by-hand": graph["metadata"]["labels"], "theirs": {}}.items():
        place.cluster.apply(graph | {"metadata": {"name": name, "namespace": NAMESPACE, "labels": labels}})
    place.cluster.delete("InferenceGraph", NAMESPACE, "chain")

    assert chain_names(place.cluster, NAMESPACE) == ["by-hand", "chain"]
