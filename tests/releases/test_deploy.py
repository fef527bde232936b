"""The first deploy of a chain: its steps, their order, and the golden picture."""

from itertools import groupby
from typing import Any

import pytest
from services.versions import PICTURE, Place, Version

pytestmark = pytest.mark.slow

EQUAL = "equal to the whole model's reply, to the last digit"
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


class TestFirst:
    def test_is_proved_stage_by_stage_and_then_through_the_router(self, place: Place, first: Version) -> None:
        deployed = place.deploy(first)

        assert str(deployed.agreement) == EQUAL
        assert place.graph() == first.services
        assert first.asked() == [
            (f"/v1/models/{first.services[0]}:predict", PICTURE),
            (f"/v1/models/{first.services[1]}:predict", b"frame of first"),
            ("/", PICTURE),
        ]

    def test_a_transformer_that_is_a_step_is_proved_first(self, place: Place, first: Version) -> None:
        place.deploy(first, transformer_as="step")
        pre = f"chain-{first.short}-pre"

        assert place.graph() == [pre, *first.services]
        assert first.asked() == [
            (f"/v1/models/{pre}:predict", PICTURE),
            (f"/v1/models/{first.services[0]}:predict", b"pixels of first"),
            (f"/v1/models/{first.services[1]}:predict", b"frame of first"),
            ("/", PICTURE),
        ]

    def test_says_each_step(self, place: Place, first: Version) -> None:
        place.deploy(first)

        waiting = "waiting for the stages: stage 0 "
        assert [line.partition(first.services[0])[0] for line in place.said] == [
            "checking every document with the cluster",
            "applying revision 1",
            waiting,
            "sending the golden picture through the new stages",
            "switching the graph",
            "waiting for the router: kserve-container is running, not ready yet",
            "sending the golden picture through the chain",
            "deleting the objects of previous revisions",
        ]

    def test_its_record_is_written_before_it_and_finished_after_it(self, place: Place, first: Version) -> None:
        place.deploy(first)
        [release] = place.history()

        assert steps(place, first) == [
            "patch configmaps",
            "patch stages of first",
            "get stages of first",
            "patch inferencegraphs",
            "get pods",
            "patch configmaps",
        ]
        begun, finished = (seen["body"] for seen in place.seen("PATCH /api/v1/namespaces/vision/configmaps"))
        assert '"shardline/phase": "pending"' in begun
        assert '"shardline/phase": "deployed"' in finished
        assert (release.revision, release.phase, release.bundle) == (1, "deployed", first.bundle.digest)
        assert release.golden is not None
        assert release.golden.picture == PICTURE

    def test_every_document_is_checked_before_any_is_applied(self, place: Place, first: Version) -> None:
        place.deploy(first)

        patches = [seen for seen in place.api.seen() if seen["method"] == "PATCH"]
        dry = [index for index, seen in enumerate(patches) if "dryRun=All" in seen["path"]]
        applied = {(seen["path"].partition("?")[0], seen["body"]) for seen in place.seen("PATCH /apis/")}
        assert dry == list(range(len(dry)))
        assert {(seen["path"].partition("?")[0], seen["body"]) for seen in patches[: len(dry)]} == applied

    def test_without_a_golden_picture_nobody_is_asked(self, make_version: Any, make_place: Any) -> None:
        silent = make_version("silent", golden=False)
        place = make_place(silent)

        assert place.deploy(silent).agreement is None
        assert place.phases() == [(1, "deployed")]
        assert silent.asked() == []
