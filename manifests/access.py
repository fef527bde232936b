"""Credentials with which pods fetch shards from a bucket: a Secret with a key, or Workload Identity on GKE.

Only predictors fetch shards. No pod of a chain calls the Kubernetes API, so no token is mounted.
"""

import re
from dataclasses import dataclass

from shardline.client.labels import Document
from shardline.manifests.names import Names
from shardline.wire.errors import UsageError

_OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_GOOGLE_ACCOUNT = re.compile(r"[a-z]([-a-z0-9]{4,28}[a-z0-9])@[a-z0-9.:-]+\.iam\.gserviceaccount\.com")
GOOGLE_ANNOTATION = "iam.gke.io/gcp-service-account"


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketAccess:
    """Attributes:
    service_account: name of the stages' ServiceAccount. It is rendered only with one of the two fields below; without
        them it must exist already.
    gcs_secret: name of a Secret whose entry `gcloud-application-credentials.json` is a Google service account's key.
    workload_identity: e-mail of the Google service account that GKE lets the pods act as.
    """

    service_account: str | None = None
    gcs_secret: str | None = None
    workload_identity: str | None = None

    def __post_init__(self) -> None:
        for what, name in {"service account": self.service_account, "secret": self.gcs_secret}.items():
            if name is not None and not _OBJECT_NAME.fullmatch(name):
                raise UsageError(f"the {what} {name!r} is not a name: write lower-case letters, digits, '-' and '.'")
        if self.workload_identity is not None and not _GOOGLE_ACCOUNT.fullmatch(self.workload_identity):
            raise UsageError(
                f"{self.workload_identity!r} is not a Google service account: "
                "write NAME@PROJECT.iam.gserviceaccount.com"
            )
        if self.gcs_secret and self.workload_identity:
            raise UsageError(
                "--gcs-secret and --workload-identity exclude each other: with a key, Workload Identity is not used"
            )

    def account(self, names: Names) -> str | None:
        """Name of the stages' ServiceAccount; None stands for the namespace's default."""
        return self.service_account or (names.app if self.gcs_secret or self.workload_identity else None)

    def documents(self, names: Names) -> list[Document]:
        """Render the ServiceAccount, if one is needed; all versions of the chain share it."""
        account = self.account(names)
        if account is None or not (self.gcs_secret or self.workload_identity):
            return []
        annotations = {GOOGLE_ANNOTATION: self.workload_identity} if self.workload_identity else {}
        return [
            {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": names.metadata(account, annotations=annotations),
                # KServe reads the key from these (service_account_credentials.go); Kubernetes does not fill them in.
                **({"secrets": [{"name": self.gcs_secret}]} if self.gcs_secret else {}),
                "automountServiceAccountToken": False,
            }
        ]

    def fields(self, names: Names) -> Document:
        """Fields of a predictor's spec."""
        account = self.account(names)
        return {"serviceAccountName": account} if account else {}
