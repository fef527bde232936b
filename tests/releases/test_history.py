"""The history of a chain in the cluster: rollbacks, how much is kept, and altered records."""

from dataclasses import replace
from typing import Any

import pytest
from services.kserve_documents import NAMESPACE
from services.versions import Place, Version

from shardline.releases.deploy import undeploy
from shardline.releases.history import DEPLOYED, KEPT, PENDING, Release, check_newest, record
from shardline.wire.errors import ClusterError

pytestmark = pytest.mark.slow

KINDS = ("ConfigMap", "InferenceGraph", "InferenceService", "NetworkPolicy", "Pod", "Service", "ServingRuntime")
ROUTE = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "HTTPRoute",
    "metadata": {"name": "chain", "namespace": NAMESPACE},
}


ALTERED = [
    {"documents.json": "{"},
    {"documents.json": "null"},
    {"documents.json": '[{"kind": "Pod"}]'},
    {"documents.json": '[{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": 1}}]'},
    {"revision": "two"},
    {"golden.json": "no"},
]


def alter(place: Place, data: dict[str, str]) -> None:
    """The first record, as `kubectl edit` would."""
    name = "chain.shardline.v1"
    found = place.cluster.get("ConfigMap", NAMESPACE, name)
    assert found is not None
    place.cluster.patch("ConfigMap", NAMESPACE, name, {"data": found["data"] | data})


class TestRollback:
    def test_goes_back_to_the_one_before(self, place: Place, first: Version, second: Version) -> None:
        place.deploy(first)
        place.deploy(second)
        back = place.rollback()

        assert back.release.revision == 3
        assert str(back.agreement) == "equal to the whole model's reply, to the last digit"
        assert place.graph() == first.services
        assert place.names("InferenceService") == sorted(first.services)
        assert f"rolling back to revision 1, bundle {first.bundle.digest}" in place.said

    def test_twice_is_where_it_began(self, place: Place, first: Version, second: Version) -> None:
        for version in (first, second):
            place.deploy(version)
        for _ in range(2):
            place.rollback()

        assert place.graph() == second.services
        assert place.phases() == [(1, DEPLOYED), (2, DEPLOYED), (3, DEPLOYED), (4, DEPLOYED)]

    def test_to_a_revision(self, place: Place, first: Version, second: Version) -> None:
        for version in (first, second, second):
            place.deploy(version)
        place.rollback(1)

        assert place.graph() == first.services

    def test_applies_what_was_applied_then(self, place: Place, first: Version, second: Version) -> None:
        for version in (first, second):
            place.deploy(version)
        back = place.rollback()
        begun, _ = place.history()[:2]

        assert back.release.documents == begun.documents
        assert back.release.storage == begun.storage

    def test_after_a_failed_deploy_takes_its_stages_away(
        self, make_version: Any, make_place: Any, first: Version
    ) -> None:
        wrong = make_version("wrong", last={"status": 500})
        place = make_place(first, wrong)
        place.deploy(first)
        with pytest.raises(ClusterError):
            place.deploy(wrong)
        place.rollback()

        assert place.graph() == first.services
        assert place.names("InferenceService") == sorted(first.services)
        assert place.phases() == [(1, DEPLOYED), (2, PENDING), (3, DEPLOYED)]

    def test_to_one_that_was_only_begun(self, place: Place, first: Version, second: Version) -> None:
        """Here the cluster refused the graph; meanwhile it would not."""

        def say(line: str) -> None:
            if line == "switching the graph":
                busy = {"method": "PATCH", "path": "/inferencegraphs/", "status": 500, "message": "etcd: no leader"}
                place.api.refuse(busy | {"times": 1})

        place.deploy(first)
        with pytest.raises(ClusterError, match="apply InferenceGraph chain: etcd: no leader"):
            place.deploy(second, say=say)
        place.rollback(2)

        assert place.graph() == second.services
        assert place.phases() == [(1, DEPLOYED), (2, PENDING), (3, DEPLOYED)]

    def test_nothing_to_go_back_to(self, place: Place, first: Version) -> None:
        place.deploy(first)
        with pytest.raises(ClusterError) as caught:
            place.rollback()

        assert str(caught.value) == "chain in namespace vision has no earlier deployed revision to roll back to"
        assert place.phases() == [(1, DEPLOYED)]

    def test_no_such_revision(self, place: Place, first: Version, second: Version) -> None:
        for version in (first, second):
            place.deploy(version)
        with pytest.raises(ClusterError) as caught:
            place.rollback(7)

        assert str(caught.value) == "chain in namespace vision has no revision 7: choose one of 1, 2"

    def test_nothing_of_that_name(self, place: Place) -> None:
        with pytest.raises(ClusterError, match="nothing was deployed as chain in namespace vision"):
            place.rollback()

    def test_to_kinds_that_were_uninstalled(self, place: Place, first: Version, second: Version) -> None:
        for version in (first, second):
            place.deploy(version)
        [old, _] = place.history()
        record(place.cluster, replace(old, documents=[ROUTE, *old.documents]))
        with pytest.raises(ClusterError) as caught:
            place.rollback()

        assert "revision 3 of chain: the Gateway API is not installed in this cluster" in str(caught.value)
        assert str(caught.value).endswith("; nothing was applied")
        assert place.graph() == second.services


class TestKept:
    def test_a_record_is_given_back_as_it_is_read(self, place: Place, first: Version) -> None:
        """JSON knows no tuples, which documents may be made of."""
        place.deploy(first)
        [release] = place.history()
        ports = {**ROUTE, "spec": {"ports": (1, 2)}}
        written = record(place.cluster, replace(release, documents=(ports, *release.documents), created=""))

        assert place.history() == [written]
        check_newest(place.cluster, written)

    def fill(self, place: Place, like: Release, phases: dict[int, str]) -> None:
        for revision, phase in phases.items():
            record(place.cluster, replace(like, revision=revision, phase=phase))

    def test_the_last_ten(self, place: Place, first: Version) -> None:
        place.deploy(first)
        self.fill(place, place.history()[0], dict.fromkeys(range(2, 15), DEPLOYED))
        place.deploy(first)

        assert KEPT == 10
        assert place.phases() == [(revision, DEPLOYED) for revision in range(6, 16)]

    def test_and_the_last_one_that_was_deployed(self, place: Place, first: Version, second: Version) -> None:
        """However many have failed since."""
        place.deploy(first)
        self.fill(place, place.history()[0], dict.fromkeys(range(2, 15), PENDING))
        place.deploy(second)

        kept = [(revision, PENDING) for revision in range(6, 15)]
        assert place.phases() == [(1, DEPLOYED), *kept, (15, DEPLOYED)]
        place.rollback()
        assert place.graph() == first.services


class TestAltered:
    @pytest.mark.parametrize("data", ALTERED, ids=str)
    def test_is_named(self, place: Place, first: Version, second: Version, data: dict[str, str]) -> None:
        place.deploy(first)
        alter(place, data)
        for command in (place.rollback, place.history, lambda: place.deploy(second)):
            with pytest.raises(ClusterError) as caught:
                command()
            assert str(caught.value).startswith(
                "ConfigMap chain.shardline.v1 was altered and is not the record of a revision any more ("
            )
            assert str(caught.value).endswith(
                "kubectl delete configmap chain.shardline.v1 --namespace vision, or shardline undeploy"
            )

    @pytest.mark.parametrize("data", ALTERED, ids=str)
    def test_is_no_obstacle_to_undeploy(self, place: Place, first: Version, data: dict[str, str]) -> None:
        place.deploy(first)
        alter(place, data)
        undeploy(place.cluster, "chain", NAMESPACE)

        assert [place.names(kind) for kind in KINDS] == [[] for _ in KINDS]


class TestUndeploy:
    def test_takes_everything_away(self, place: Place, first: Version, second: Version) -> None:
        for version in (first, second):
            place.deploy(version)
        deleted = undeploy(place.cluster, "chain", NAMESPACE)

        assert deleted == 8  # a graph, two services, a runtime, four policies
        assert [place.names(kind) for kind in KINDS] == [[] for _ in KINDS]

    def test_deletes_the_graph_before_the_stages_and_the_records_last(self, place: Place, first: Version) -> None:
        place.deploy(first)
        undeploy(place.cluster, "chain", NAMESPACE)

        deleted = [seen["path"].split("/")[-2] for seen in place.seen("DELETE")]
        assert deleted[0] == "inferencegraphs"
        assert deleted[-1] == "configmaps"

    def test_can_be_repeated_after_a_refusal(self, place: Place, first: Version) -> None:
        place.deploy(first)
        refused = {"method": "DELETE", "path": "/servingruntimes/", "status": 403, "message": "not you", "times": 1}
        place.api.refuse(refused)
        with pytest.raises(ClusterError, match="not you"):
            undeploy(place.cluster, "chain", NAMESPACE)
        undeploy(place.cluster, "chain", NAMESPACE)

        assert [place.names(kind) for kind in KINDS] == [[] for _ in KINDS]

    def test_of_kinds_that_were_uninstalled(self, place: Place, first: Version) -> None:
        place.deploy(first)
        [release] = place.history()
        record(place.cluster, replace(release, documents=[*release.documents, ROUTE]))
        undeploy(place.cluster, "chain", NAMESPACE)

        assert [place.names(kind) for kind in KINDS] == [[] for _ in KINDS]

    def test_nothing_of_that_name(self, place: Place) -> None:
        with pytest.raises(ClusterError) as caught:
            undeploy(place.cluster, "chain", NAMESPACE)

        assert str(caught.value) == (
            "nothing was deployed as chain in namespace vision: shardline status lists the chains of a namespace"
        )


def test_two_chains_in_one_namespace(make_version: Any, make_place: Any, first: Version, second: Version) -> None:
    """One's name is the beginning of the other's."""
    other = make_version("third", name="chain-b")
    place = make_place(first, second, other)
    place.deploy(first)
    place.deploy(other)
    place.deploy(second)

    assert place.graph("chain-b") == other.services
    assert place.names("InferenceService") == sorted(other.services + second.services)
    assert place.phases("chain-b") == [(1, DEPLOYED)]
    undeploy(place.cluster, "chain", NAMESPACE)
    assert place.names("InferenceService") == sorted(other.services)
    assert place.names("NetworkPolicy") == [
        f"chain-b-{pods}" for pods in ("first-stage", "router", "stages", "transformer")
    ]
    assert place.phases("chain-b") == [(1, DEPLOYED)]
