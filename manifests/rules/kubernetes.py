"""What the API server asks of the Kubernetes objects beside a chain, where types alone do not tell."""

from collections.abc import Iterator

from shardline.manifests.rules.manifest import Manifest
from shardline.manifests.rules.rule import Finding, Severity, rule

_SOURCE = "Kubernetes"


@rule("PodDisruptionBudget", source=_SOURCE)
def disruption_budget(budget: Manifest) -> Iterator[Finding]:
    """A PodDisruptionBudget has `minAvailable` or `maxUnavailable`, not both, and a selector."""
    if "minAvailable" in budget.spec and "maxUnavailable" in budget.spec:
        yield "spec.maxUnavailable", "minAvailable and maxUnavailable cannot be both set: keep one"
    if not budget.spec.get("selector"):
        yield "spec.selector", "found none, so the budget is for every pod of the namespace: add a selector"


@rule("HorizontalPodAutoscaler", source=_SOURCE)
def autoscaler_replicas(autoscaler: Manifest) -> Iterator[Finding]:
    """A HorizontalPodAutoscaler's `minReplicas` is 1 to `maxReplicas`."""
    least, most = autoscaler.spec.get("minReplicas", 1), autoscaler.spec.get("maxReplicas", 1)
    if not 1 <= least <= most:
        yield "spec.minReplicas", f"found {least}, allowed is 1 to maxReplicas, which is {most}"


@rule("NetworkPolicy", source=_SOURCE)
def policy_types(policy: Manifest) -> Iterator[Finding]:
    """A NetworkPolicy's `policyTypes` are Ingress and Egress, and name the rules that it has."""
    types = policy.spec.get("policyTypes")
    for index, each in enumerate(types or ()):
        if each not in ("Ingress", "Egress"):
            yield f"spec.policyTypes[{index}]", f"found {each!r}, allowed is Ingress and Egress"
    for each in ("Ingress", "Egress"):
        if types and each not in types and policy.spec.get(each.lower()):
            yield "spec.policyTypes", f"found no {each}, so the rules under {each.lower()} do nothing: add it"


@rule("Kustomization", source="ours", severity=Severity.WARNING)
def kustomization_patches(kustomization: Manifest) -> Iterator[Finding]:
    """A kustomization has no patches: only kubectl can apply them."""
    for name in ("patches", "patchesStrategicMerge", "patchesJson6902", "replacements"):
        if kustomization.document.get(name):
            yield name, "not applied here: check what it makes with `kubectl kustomize FOLDER | shardline lint -`"
