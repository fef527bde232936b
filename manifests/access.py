"""With whose rights a pod fetches its shard: a ServiceAccount with a key's Secret, or Workload Identity on GKE.

Only predictors fetch anything. Neither they nor the transformer talk to the Kubernetes API, so no token is mounted.
"""

import re
from dataclasses import dataclass

from shardline.manifests.names import Document, Names
from shardline.wire.errors import ManifestError

_OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_GOOGLE_ACCOUNT = re.compile(r"[a-z]([-a-z0-9]{4,28}[a-z0-9])@[a-z0-9.:-]+\.iam\.gserviceaccount\.com")
GOOGLE_ANNOTATION = "iam.gke.io/gcp-service-account"


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketAccess:
    """Attributes:
    service_account: of the stages' pods. Written only with one of the two below, else it must exist already.
    gcs_secret: a Secret whose key `gcloud-application-credentials.json` is a Google service account's key.
    workload_identity: e-mail of the Google service account as which GKE lets the pods act.
    """

    service_account: str | None = None
    gcs_secret: str | None = None
    workload_identity: str | None = None

    def __post_init__(self) -> None:
        for what, name in {"service account": self.service_account, "secret": self.gcs_secret}.items():
            if name is not None and not _OBJECT_NAME.fullmatch(name):
                raise ManifestError(f"the {what} {name!r} is not allowed: lower-case letters, digits, '-' and '.'")
        if self.workload_identity is not None and not _GOOGLE_ACCOUNT.fullmatch(self.workload_identity):
            raise ManifestError(
                f"{self.workload_identity!r} is no Google service account: write NAME@PROJECT.iam.gserviceaccount.com"
            )
        if self.gcs_secret and self.workload_identity:
            raise ManifestError(
                "with a key in a secret Workload Identity is never used: give --gcs-secret or --workload-identity"
            )

    def account(self, names: Names) -> str | None:
        """The name of the stages' ServiceAccount; None is the namespace's default."""
        return self.service_account or (names.app if self.gcs_secret or self.workload_identity else None)

    def documents(self, names: Names) -> list[Document]:
        """The ServiceAccount, if there is something to say in it; it belongs to all versions of the chain."""
        account = self.account(names)
        if account is None or not (self.gcs_secret or self.workload_identity):
            return []
        annotations = {GOOGLE_ANNOTATION: self.workload_identity} if self.workload_identity else {}
        return [
            {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": names.metadata(account, annotations=annotations),
                # KServe looks for the key in these (service_account_credentials.go); Kubernetes no longer fills it in.
                **({"secrets": [{"name": self.gcs_secret}]} if self.gcs_secret else {}),
                "automountServiceAccountToken": False,
            }
        ]

    def fields(self, names: Names) -> Document:
        """Of a predictor."""
        account = self.account(names)
        return {"serviceAccountName": account} if account else {}
