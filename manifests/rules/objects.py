"""Lint rules for Kubernetes objects in general: names, labels, and the hosts that KServe derives from them."""

import difflib
import re
from collections.abc import Iterator

from shardline.manifests.names import KSERVE_NAME, LABEL_CHARACTERS
from shardline.manifests.rules.components import components
from shardline.manifests.rules.rule import (
    CLUSTER_RUNTIME,
    GRAPH,
    RUNTIME,
    SERVICE,
    Finding,
    Manifest,
    Severity,
    key,
    rule,
)

_NAME_CHARACTERS = 253
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_QUALIFIED = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")


@rule(source="Kubernetes")
def kserve_kind(manifest: Manifest) -> Iterator[Finding]:
    """A kind must be written as KServe's API has it: `InferenceService`, not `inferenceservice` or its plural."""
    known = {kind.lower(): kind for kind in (SERVICE, GRAPH, RUNTIME, CLUSTER_RUNTIME)}
    close = difflib.get_close_matches(manifest.kind.lower(), known, n=1, cutoff=0.9)
    if close and manifest.kind not in known.values():
        yield "kind", f"found {manifest.kind!r}, which no API has: did you mean {known[close[0]]!r}?"


@rule(source="Kubernetes")
def object_name(manifest: Manifest) -> Iterator[Finding]:
    """A name must have at most 253 lower-case letters, digits, `-` and `.`, a namespace's at most 63 and no dot."""
    name, strict = manifest.name, manifest.kind == "Namespace"
    allowed, most = (_LABEL, LABEL_CHARACTERS) if strict else (_SUBDOMAIN, _NAME_CHARACTERS)
    if name and manifest.kind not in (SERVICE, GRAPH) and not allowed.fullmatch(name):
        yield "metadata.name", f"found {name!r}, allowed is lower-case letters, digits and '-' ({allowed.pattern})"
    if len(name) > most:
        yield "metadata.name", f"found {len(name)} characters, allowed is {most}: choose a shorter name"
    namespace = manifest.metadata.get("namespace", "")
    if namespace and (not _LABEL.fullmatch(namespace) or len(namespace) > LABEL_CHARACTERS):
        yield (
            "metadata.namespace",
            f"found {namespace!r}, allowed are {LABEL_CHARACTERS} lower-case letters, digits and '-'",
        )


@rule(SERVICE, source="inference_service_validation.go")
def service_name(service: Manifest) -> Iterator[Finding]:
    """A service's name must start with a letter and consist of lower-case letters, digits and `-`."""
    yield from _bad_name(service, "the")


@rule(GRAPH, source="inference_graph_validation.go")
def graph_name(graph: Manifest) -> Iterator[Finding]:
    """A graph's name must start with a letter and consist of lower-case letters, digits and `-`."""
    yield from _bad_name(graph, "The")


def _bad_name(manifest: Manifest, article: str) -> Iterator[Finding]:
    """Check a name in the words of KServe's webhooks."""
    if manifest.name and not KSERVE_NAME.fullmatch(manifest.name):
        yield (
            "metadata.name",
            f'{article} {manifest.kind} "{manifest.name}" is invalid: a {manifest.kind} name must consist of lower '
            "case alphanumeric characters or '-', and must start with alphabetical character. "
            f'(e.g. "my-name" or "abc-123", regex used for validation is \'{KSERVE_NAME.pattern}\'): '
            "choose another name",
        )


@rule(source="Kubernetes")
def object_labels(manifest: Manifest) -> Iterator[Finding]:
    """Labels and annotations must have the characters and lengths that Kubernetes allows."""
    for where in ("labels", "annotations"):
        for name, value in manifest.metadata.get(where, {}).items():
            here = key(f"metadata.{where}", name)
            if not _is_key(name):
                yield here, f"found the key {name!r}, allowed is [domain/]name of {LABEL_CHARACTERS} characters"
            if where == "labels" and value and (not _QUALIFIED.fullmatch(value) or len(value) > LABEL_CHARACTERS):
                yield here, f"found {value!r}, allowed are {LABEL_CHARACTERS} letters, digits, '-', '_' and '.'"


def _is_key(text: str) -> bool:
    prefix, slash, name = text.rpartition("/")
    right = not slash or (_SUBDOMAIN.fullmatch(prefix) and len(prefix) <= _NAME_CHARACTERS)
    return bool(right and _QUALIFIED.fullmatch(name) and len(name) <= LABEL_CHARACTERS)


@rule(SERVICE, source="raw_kube_reconciler.go createRawURL")
def service_host(service: Manifest) -> Iterator[Finding]:
    """`<service>-<component>-<namespace>` must be a DNS label, since KServe derives a host name from it."""
    for component in components(service):
        host = f"{service.name}-{component.name}-{service.namespace}"
        yield from _too_long("the host's first label", host)


@rule(SERVICE, source="deployment_reconciler.go")
def service_label(service: Manifest) -> Iterator[Finding]:
    """`isvc.<service>-<component>` must fit a label, since KServe sets it on the pods as `app`."""
    for component in components(service):
        given = f"-{component.spec['name']}" if component.spec.get("name") else ""
        yield from _too_long("the pods' label app", f"isvc.{service.name}{given}-{component.name}")


@rule(GRAPH, source="raw_ig.go")
def graph_host(graph: Manifest) -> Iterator[Finding]:
    """`<graph>-<namespace>` must be a DNS label, and `isvc.<graph>` must fit a label of the router's pods."""
    yield from _too_long("the host's first label", f"{graph.name}-{graph.namespace}")
    yield from _too_long("the pods' label app", f"isvc.{graph.name}")


def _too_long(what: str, found: str) -> Iterator[Finding]:
    over = len(found) - LABEL_CHARACTERS
    if over > 0:
        yield (
            "metadata.name",
            f"{what} would be {found!r} of {len(found)} characters, allowed are {LABEL_CHARACTERS}: choose a name or "
            f"namespace shorter by {over}",
        )


@rule(source="Kubernetes")
def duplicate(manifest: Manifest) -> Iterator[Finding]:
    """No two documents may have the same kind, namespace and name, since the second would replace the first."""
    same = [other for other in manifest.beside(manifest.kind) if other.name == manifest.name]
    if manifest.name and same[0] is not manifest:
        first = f" of {same[0].file}" if same[0].file else ""
        yield "metadata.name", f"{manifest.label} in namespace {manifest.namespace} is given twice: remove one{first}"


@rule("PodDisruptionBudget", source="Kubernetes")
def disruption_budget(budget: Manifest) -> Iterator[Finding]:
    """A PodDisruptionBudget must have a selector, and `minAvailable` or `maxUnavailable`, but not both."""
    if "minAvailable" in budget.spec and "maxUnavailable" in budget.spec:
        yield "spec.maxUnavailable", "minAvailable and maxUnavailable cannot be both set: keep one"
    if not budget.spec.get("selector"):
        yield "spec.selector", "found none, so the budget holds for every pod of the namespace: add a selector"


@rule("NetworkPolicy", source="Kubernetes")
def policy_types(policy: Manifest) -> Iterator[Finding]:
    """A NetworkPolicy's `policyTypes` must be Ingress or Egress, and must name the rules that it has."""
    types = policy.spec.get("policyTypes")
    for index, direction in enumerate(types or ()):
        if direction not in ("Ingress", "Egress"):
            yield f"spec.policyTypes[{index}]", f"found {direction!r}, allowed are Ingress and Egress"
    for direction in ("Ingress", "Egress"):
        rules = direction.lower()
        if types and direction not in types and policy.spec.get(rules):
            yield "spec.policyTypes", f"found no {direction}, so the rules under {rules} have no effect: add it"


@rule("Kustomization", source="ours", severity=Severity.WARNING)
def kustomization_patches(kustomization: Manifest) -> Iterator[Finding]:
    """A kustomization should have no patches, since lint cannot apply them."""
    for name in ("patches", "patchesStrategicMerge", "patchesJson6902", "replacements"):
        if kustomization.document.get(name):
            yield name, "found patches, which are not applied here: check `kubectl kustomize FOLDER | shardline lint -`"
