"""Rollouts: a version replaces another, and what every failure leaves behind."""

from itertools import groupby
from typing import Any

import pytest
from services.bucket import Wire
from services.kserve_documents import NAMESPACE
from services.versions import Place, Version

from shardline.client.cluster import connect
from shardline.releases.deploy import undeploy
from shardline.wire.errors import ClusterError

pytestmark = pytest.mark.slow


DENIED = 'admission webhook "inferenceservice.kserve-webhook-server.validator" denied the request: no'


def name_in(seen: dict[str, Any]) -> str:
    return str(seen["path"].partition("?")[0].rpartition("/")[2])


def steps(place: Place, *versions: Version) -> list[str]:
    """List the changes and the forwarded ports in order, a word for each."""
    words = {service: f"stages of {version.folder.name}" for version in versions for service in version.services}
    told = []
    for seen in place.seen("PATCH", "DELETE", "/portforward"):
        path = seen["path"].partition("?")[0]
        kind = path.split("/")[-2 if seen["method"] != "GET" else -3]
        stage = next((word for service, word in words.items() if service in path), "")
        if kind in ("configmaps", "inferencegraphs", "inferenceservices", "pods"):
            told.append(f"{seen['method'].lower()} {stage or kind}")
    return [step for step, _ in groupby(told)]


class TestSecond:
    @pytest.mark.parametrize("kinds", [("component", "step"), ("step", "component")])
    def test_may_have_its_transformer_elsewhere(
        self, place: Place, first: Version, second: Version, kinds: tuple[str, str]
    ) -> None:
        """Until the first is gone, its policies let the router and its transformer through."""
        place.deploy(first, transformer_as=kinds[0])
        before = place.names("NetworkPolicy")
        place.deploy(second, transformer_as=kinds[1])
        removed = [name_in(seen) for seen in place.seen("DELETE") if "networkpolicies" in seen["path"]]

        assert sorted(removed) == before
        assert not set(before) & set(place.names("NetworkPolicy"))

    def test_stands_beside_the_first_until_it_is_proved(self, place: Place, first: Version, second: Version) -> None:
        place.deploy(first)
        before = len(steps(place, first, second))
        place.deploy(second)

        assert steps(place, first, second)[before - 1 :] == [
            "patch configmaps",
            "patch stages of second",
            "get stages of second",
            "patch inferencegraphs",
            "get pods",
            "patch configmaps",
            "delete stages of first",
        ]
        assert "waiting for the router: 1 pod of the previous revision is still running" in place.said
        assert place.graph() == second.services
        assert place.names("InferenceService") == sorted(second.services)
        assert place.names("ServingRuntime") == [f"chain-{second.short}"]
        assert place.phases() == [(1, "deployed"), (2, "deployed")]

    def test_keeps_the_first_while_a_router_knows_it(self, make_place: Any, first: Version, second: Version) -> None:
        place = make_place(first, second, router_stays=True)
        place.deploy(first)
        with pytest.raises(ClusterError) as caught:
            place.deploy(second, timeout_s=3)

        assert str(caught.value) == (
            "revision 2 of chain: the router did not get ready within 3 s: 1 pod of the previous revision is "
            "still running; requests may reach it already; to undo it: shardline rollback chain --namespace vision"
        )
        assert place.names("InferenceService") == sorted(first.services + second.services)
        assert place.phases() == [(1, "deployed"), (2, "pending")]

    def test_a_router_pod_that_was_evicted_is_not_waited_for(
        self, place: Place, first: Version, second: Version
    ) -> None:
        place.deploy(first)
        [router] = place.cluster.select("Pod", NAMESPACE, labels="serving.kserve.io/inferencegraph=chain")
        place.cluster.apply(
            router | {"metadata": router["metadata"] | {"name": "evicted"}, "status": {"phase": "Failed"}}
        )
        place.deploy(second)

        assert place.graph() == second.services

    def test_the_same_bundle_again_is_a_revision_of_its_own(self, place: Place, first: Version) -> None:
        place.deploy(first)
        place.deploy(first)

        assert place.names("InferenceService") == sorted(first.services)
        assert place.phases() == [(1, "deployed"), (2, "deployed")]

    def test_takes_over_what_was_applied_by_hand(self, place: Place, first: Version) -> None:
        labels = {"app.kubernetes.io/part-of": "chain", "app.kubernetes.io/managed-by": "shardline"}
        by_hand = {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {"name": "chain-0", "namespace": NAMESPACE, "labels": labels},
            "spec": {"predictor": {"model": {"args": []}}},
        }
        place.cluster.apply(by_hand)
        place.deploy(first)

        assert place.names("InferenceService") == sorted(first.services)


class TestFailures:
    def test_a_refused_document_leaves_nothing_and_no_record(self, place: Place, first: Version) -> None:
        refused = {"method": "PATCH", "path": f"/inferenceservices/{first.services[1]}", "status": 400}
        place.api.refuse(refused | {"message": DENIED})
        with pytest.raises(ClusterError) as caught:
            place.deploy(first)

        assert str(caught.value) == (
            f"revision 1 of chain: apply InferenceService {first.services[1]}: {DENIED}; nothing was applied"
        )
        assert place.seen("PATCH") == []
        assert place.history() == []

    def test_another_s_graph_is_not_taken_over(self, place: Place, first: Version) -> None:
        foreign = {
            "apiVersion": "serving.kserve.io/v1alpha1",
            "kind": "InferenceGraph",
            "metadata": {"name": "chain", "namespace": NAMESPACE, "labels": {}},
            "spec": {"nodes": {"root": {"routerType": "Sequence", "steps": [{"serviceName": "theirs"}]}}},
        }
        place.cluster.apply(foreign)
        with pytest.raises(ClusterError, match=r"is not Shardline's: choose another --name"):
            place.deploy(first)

        assert place.graph() == ["theirs"]

    def test_a_stage_that_never_gets_ready(self, make_place: Any, first: Version, second: Version) -> None:
        ended = "error: stages/1/shard.pt2 has sha256 0123, expected 4567"
        place = make_place(first, second, broken={f"{second.services[1]}-predictor": ended})
        place.deploy(first)
        with pytest.raises(ClusterError) as caught:
            place.deploy(second, timeout_s=1)

        assert str(caught.value) == (
            f"revision 2 of chain: the stages did not get ready within 1 s: stage 1 {second.services[1]}: predictor "
            f"0/1: kserve-container CrashLoopBackOff (exit 1, 3 restarts): {ended}; the graph was not changed; "
            "shardline rollback chain --namespace vision deletes the new stages"
        )
        assert place.graph() == first.services
        assert set(first.services) < set(place.names("InferenceService"))
        assert place.phases() == [(1, "deployed"), (2, "pending")]

    @pytest.mark.parametrize(
        ("says", "said"),
        [
            (
                {"last": {"json": {"predictions": [{"label": "wrong", "index": 1, "score": 0.5}]}}},
                "the chain's reply to the golden picture differs from the whole model's: reply.predictions[0].label is "
                "'wrong', expected 'other'",
            ),
            ({"last": {"status": 500, "json": {"error": "1: out of memory"}}}, "500: 1: out of memory"),
            ({"last": {"text": "<html>"}}, "replies to the golden picture with b'<html>', which is not JSON"),
            ({"first": {"status": 422, "json": {"error": "no picture"}}}, "422: no picture"),
        ],
        ids=["a wrong reply", "an error", "no JSON", "the first stage's error"],
    )
    def test_stages_that_fail_the_golden_picture(
        self, make_version: Any, make_place: Any, first: Version, says: dict[str, Any], said: str
    ) -> None:
        other = make_version("other", **says)
        place = make_place(first, other)
        place.deploy(first)
        with pytest.raises(ClusterError) as caught:
            place.deploy(other)

        assert said in str(caught.value)
        assert "; the graph was not changed; shardline rollback chain" in str(caught.value)
        assert place.graph() == first.services
        assert set(first.services) < set(place.names("InferenceService"))

    def test_a_router_that_fails_it(self, make_version: Any, make_place: Any, first: Version) -> None:
        other = make_version("other", router={"status": 404, "json": {"error": "no route"}})
        place = make_place(first, other)
        place.deploy(first)
        with pytest.raises(ClusterError) as caught:
            place.deploy(other)

        assert "chain does not reply to the golden picture: 404: no route; requests may reach it already" in str(
            caught.value
        )
        assert place.phases() == [(1, "deployed"), (2, "pending")]
        assert set(first.services) < set(place.names("InferenceService"))

    def test_the_first_of_all_is_taken_away_by_undeploy(self, make_version: Any, make_place: Any) -> None:
        wrong = make_version("wrong", last={"json": {"predictions": []}})
        place = make_place(wrong)
        with pytest.raises(ClusterError, match="shardline undeploy chain --namespace vision deletes the new stages"):
            place.deploy(wrong)
        undeploy(place.cluster, "chain", NAMESPACE)

        assert place.names("InferenceService") == []

    def test_an_api_server_that_is_away_for_a_while(self, place: Place, first: Version) -> None:
        with Wire(place.api.url) as wire:
            kubeconfig = place.api.kubeconfig.with_name("through-the-wire.json")
            kubeconfig.write_text(place.api.kubeconfig.read_text().replace(place.api.url, wire.url))
            said: list[str] = []

            def say(line: str) -> None:
                said.append(line)
                if line.startswith("waiting for the stages: stage 0"):
                    wire.cut()
                if "does not answer" in line:
                    wire.mend()

            away = Place(place.api, connect(kubeconfig))
            away.deploy(first, say=say)

        assert [line for line in said if line.startswith("waiting for the stages: ") and "does not answer" in line]
        assert place.phases() == [(1, "deployed")]


class TestAtOnce:
    def test_the_later_one_goes_on(self, place: Place, first: Version, second: Version) -> None:
        """The second is deployed while the first waits for its stages."""

        def say(line: str) -> None:
            if line.startswith("waiting for the stages"):
                place.deploy(second)

        with pytest.raises(ClusterError) as caught:
            place.deploy(first, say=say)

        assert str(caught.value) == "revision 2 of chain was begun meanwhile and replaces revision 1"
        assert place.graph() == second.services
        assert place.names("InferenceService") == sorted(second.services)
        assert place.phases() == [(1, "pending"), (2, "deployed")]

    def test_the_graph_is_left_to_the_later_one(self, place: Place, first: Version, second: Version) -> None:
        """The second is begun, and not yet ready, while the first is proved."""

        def say(line: str) -> None:
            if line.startswith("sending the golden picture through the new stages"):
                with pytest.raises(ClusterError, match="did not get ready within"):
                    place.deploy(second, timeout_s=0)

        with pytest.raises(ClusterError, match="revision 2 of chain was begun meanwhile and replaces revision 1"):
            place.deploy(first, say=say)

        assert place.names("InferenceGraph") == []

    def test_both_of_one_number(self, place: Place, first: Version, second: Version) -> None:
        """The second reads the history before the first has written to it, and writes after it."""

        def say(line: str) -> None:
            if line.startswith("applying"):
                place.cluster.delete("ConfigMap", NAMESPACE, "chain.shardline.v1")
                with pytest.raises(ClusterError, match="did not get ready within"):
                    place.deploy(second, timeout_s=0)

        with pytest.raises(ClusterError, match="another deploy began revision 1 of chain at the same time"):
            place.deploy(first, say=say)

        assert place.names("InferenceGraph") == []
        assert [release.bundle for release in place.history()] == [second.bundle.digest]

    def test_what_the_later_one_has_begun_is_not_taken_away(
        self, make_place: Any, first: Version, second: Version
    ) -> None:
        """The second is begun after the first was switched to; it does not get ready, and the first ends after it."""
        place = make_place(first, second, broken={f"{second.services[1]}-predictor": "error"})

        def say(line: str) -> None:
            if line.startswith("deleting"):
                with pytest.raises(ClusterError, match="did not get ready within"):
                    place.deploy(second, timeout_s=0)

        place.deploy(first, say=say)

        assert place.graph() == first.services
        assert place.names("InferenceService") == sorted(first.services + second.services)
        assert place.phases() == [(1, "deployed"), (2, "pending")]

    def test_undeployed_while_it_waits(self, place: Place, first: Version) -> None:
        def say(line: str) -> None:
            if line.startswith("waiting for the stages"):
                undeploy(place.cluster, "chain", NAMESPACE)

        with pytest.raises(ClusterError, match="revision 1 of chain was undeployed meanwhile"):
            place.deploy(first, say=say)

        assert place.names("InferenceService") == []
        assert place.names("InferenceGraph") == []
