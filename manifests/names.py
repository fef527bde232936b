"""Names that KServe takes: what its webhooks check, and what its controller trips over later."""

import re

from wire.errors import ManifestError

# inference_graph_validation.go and inference_service_validation.go have the same pattern
_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
LABEL_CHARACTERS = 63  # RFC 1035


def check_names(name: str, namespace: str, *, services: list[str], graph: bool) -> None:
    """Refuse what the cluster would refuse, some of it only after `kubectl apply` has said yes.

    KServe makes a host name's first label of each component, `<service>-transformer-<namespace>`, and fails to
    reconcile when it is too long (raw_kube_reconciler.go createRawURL); likewise `<graph>-<namespace>`. The longer
    component name counts for every stage, so that a chain which fits keeps fitting when a transformer is added.

    Raises:
        ManifestError: with what was found, what is allowed and what to do.
    """
    _check_pattern("name", name, _NAME)
    _check_pattern("namespace", namespace, _NAMESPACE)
    _check_length("namespace", namespace)
    if graph:
        _check_length("graph's host name", f"{name}-{namespace}")
    for service in services:
        _check_length("service's host name", f"{service}-transformer-{namespace}")


def _check_pattern(what: str, found: str, allowed: re.Pattern[str]) -> None:
    if not allowed.fullmatch(found):
        raise ManifestError(
            f"the {what} {found!r} is not allowed: KServe takes lower-case letters, digits and '-' "
            f"({allowed.pattern}); choose another --{what}"
        )


def _check_length(what: str, found: str) -> None:
    if len(found) > LABEL_CHARACTERS:
        raise ManifestError(
            f"the {what} {found!r} has {len(found)} characters, DNS allows {LABEL_CHARACTERS}: "
            f"choose a --name or --namespace shorter by {len(found) - LABEL_CHARACTERS}"
        )
