"""With whose rights stages fetch their shards."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from shardline.manifests.access import BucketAccess
from shardline.manifests.options import RenderOptions
from shardline.manifests.render import render
from shardline.storage.bundle import Bundle
from shardline.wire.errors import UsageError


def written(bundle: Bundle, access: BucketAccess) -> tuple[list[dict[str, Any]], set[str | None]]:
    """The ServiceAccounts, and the names that predictors give; the transformer gives none."""
    rendered = render(
        bundle, RenderOptions(transformer_as="component", storage="gs://b/m", access=access, versioned=True)
    )
    services = [document["spec"] for document in rendered if document["kind"] == "InferenceService"]
    assert "serviceAccountName" not in services[0]["transformer"]
    accounts = [document for document in rendered if document["kind"] == "ServiceAccount"]
    return accounts, {service["predictor"].get("serviceAccountName") for service in services}


def test_no_account_unless_there_is_something_to_say(make_bundle: Callable[..., Bundle]) -> None:
    assert written(make_bundle(), BucketAccess()) == ([], {None})
    assert written(make_bundle(), BucketAccess(service_account="mine")) == ([], {"mine"})


def test_a_secret_is_listed_where_kserve_looks_for_it(make_bundle: Callable[..., Bundle]) -> None:
    [account], names = written(make_bundle(), BucketAccess(gcs_secret="key"))

    assert names == {account["metadata"]["name"]} == {"resnet50"}
    assert account["secrets"] == [{"name": "key"}]
    assert account["automountServiceAccountToken"] is False


def test_workload_identity_is_an_annotation(make_bundle: Callable[..., Bundle]) -> None:
    email = "fetcher@my-project.iam.gserviceaccount.com"
    [account], names = written(make_bundle(), BucketAccess(service_account="mine", workload_identity=email))

    assert names == {account["metadata"]["name"]} == {"mine"}
    assert account["metadata"]["annotations"]["iam.gke.io/gcp-service-account"] == email
    assert "secrets" not in account


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gcs_secret": "A"}, "the secret 'A' is not a name"),
        ({"service_account": "a_b"}, "the service account 'a_b' is not a name"),
        (
            {"workload_identity": "me@example.com"},
            "'me@example.com' is not a Google service account: write NAME@PROJECT",
        ),
        (
            {"gcs_secret": "key", "workload_identity": "fetcher@my-project.iam.gserviceaccount.com"},
            "--gcs-secret and --workload-identity exclude each other",
        ),
    ],
)
def test_what_gives_no_access_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        BucketAccess(**options)
