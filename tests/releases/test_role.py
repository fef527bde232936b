"""The Role on the page docs/deploy.md allows what deploy, status, rollback and undeploy ask for, and nothing else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from services.kserve_documents import NAMESPACE
from services.versions import Place, Version

from shardline.manifests.access import BucketAccess
from shardline.manifests.scaling import Scaling
from shardline.releases.deploy import undeploy
from shardline.releases.status import chain_status

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "deploy.md"
VERBS = {"PATCH": ["create", "patch"], "DELETE": ["delete"]}  # an apply of what is not there yet creates it

Right = tuple[str, str, str]  # API group, resource, verb


def granted() -> set[Right]:
    role = yaml.safe_load(PAGE.read_text(encoding="utf-8").partition("```yaml\n")[2].partition("```")[0])
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def needed(seen: list[dict[str, Any]]) -> Iterator[Right]:
    """Read requests as the API server does; everybody may list the kinds."""
    for request in seen:
        path = request["path"].partition("?")[0].strip("/").split("/")
        group, rest = ("", path[2:]) if path[0] == "api" else (path[1], path[3:])
        if rest[:1] != ["namespaces"]:
            continue
        resource, name, sub = (*rest[2:], "", "")[:3]
        verbs = VERBS.get(request["method"]) or ["get" if name else "list"]
        yield from ((group, f"{resource}/{sub}" if sub else resource, verb) for verb in verbs)


def test_the_role_on_the_page(place: Place, first: Version, second: Version) -> None:
    place.deploy(first, scaling=Scaling(replicas=2), access=BucketAccess(gcs_secret="key"))
    place.deploy(second)
    place.rollback()
    chain_status(place.cluster, "chain", NAMESPACE)
    undeploy(place.cluster, "chain", NAMESPACE)
    used = set(needed(place.api.seen()))

    assert used <= granted()
    ways_in = {"ingresses", "httproutes"}  # this chain has none
    unused = {right for right in granted() - used if right[1] not in ways_in}
    # rules are by group and not by resource, and servers from 1.35 on ask for create where it was get
    assert {right[2] for right in unused} <= {"get", "list", "create"}
