"""Where a chain's pods run: GPUs, nodes, taints, spread over nodes, and how a rollout replaces them there."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from shardline.manifests.names import PART_OF, Document, Names
from shardline.wire.errors import ManifestError

GPU = "nvidia.com/gpu"
ACCELERATOR_LABEL = "cloud.google.com/gke-accelerator"
HOSTNAME = "kubernetes.io/hostname"

_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_QUALIFIED = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Toleration:
    """Of a taint `key=value:effect`; without a value any, without an effect all."""

    key: str
    value: str | None = None
    effect: str | None = None

    def to_dict(self) -> Document:
        operator: Document = (
            {"operator": "Exists"} if self.value is None else {"operator": "Equal", "value": self.value}
        )
        return {"key": self.key, **operator, **({"effect": self.effect} if self.effect else {})}


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Of the stages' pods; transformer and router need no special node, and follow only `colocate` and `spread`.

    Attributes:
        gpu_resource: what a stage takes one of, e.g. 'nvidia.com/gpu' or 'nvidia.com/mig-1g.10gb'; None is CPU.
        spread: topology keys over which a component's replicas are spread, where the scheduler can.
        colocate: prefer nodes where pods of the chain run already: frames of megabytes then cross no network.
    """

    gpu_resource: str | None = None
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    spread: tuple[str, ...] = ()
    colocate: bool = False

    def __post_init__(self) -> None:
        keys = [*self.node_selector, *self.spread, *(each.key for each in self.tolerations)]
        for key in keys + ([self.gpu_resource] if self.gpu_resource else []):
            if not _QUALIFIED.fullmatch(key):
                raise ManifestError(f"{key!r} is no name that Kubernetes takes: write it as name or domain/name")
        for value in [*self.node_selector.values(), *(each.value or "" for each in self.tolerations)]:
            if not _VALUE.fullmatch(value):
                raise ManifestError(
                    f"{value!r} is no value of a label or taint: at most 63 letters, digits, '-', '_', '.'"
                )
        for toleration in self.tolerations:
            if toleration.effect not in (None, *_EFFECTS):
                raise ManifestError(f"{toleration.effect!r} is no taint's effect: one of {', '.join(_EFFECTS)}")
        if self.gpu_resource and "/" not in self.gpu_resource:
            raise ManifestError(
                f"{self.gpu_resource!r} is no device's resource: write it as {GPU} or nvidia.com/mig-1g.10gb"
            )

    def stage_fields(self) -> Document:
        """A predictor's nodeSelector and tolerations."""
        tolerations = [each.to_dict() for each in self.tolerations]
        if self.gpu_resource and not any(each.key == GPU for each in self.tolerations):
            # Nodes with GPUs bear this taint on GKE and wherever the GPU operator is told to put it.
            tolerations.append(Toleration(key=GPU, effect="NoSchedule").to_dict())
        return {
            **({"nodeSelector": dict(self.node_selector)} if self.node_selector else {}),
            **({"tolerations": tolerations} if tolerations else {}),
        }

    def spread_fields(self, selector: Mapping[str, str]) -> Document:
        """topologySpreadConstraints of the component whose pods have these labels.

        ScheduleAnyway: a stage with two pods on one node is better than a stage with one.
        """
        constraints = [
            {
                "maxSkew": 1,
                "topologyKey": key,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": dict(selector)},
            }
            for key in self.spread
        ]
        return {"topologySpreadConstraints": constraints} if constraints else {}

    def affinity_fields(self, names: Names) -> Document:
        if not self.colocate:
            return {}
        term = {"labelSelector": {"matchLabels": {PART_OF: names.app}}, "topologyKey": HOSTNAME}
        preferred = [{"weight": 100, "podAffinityTerm": term}]
        return {"affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}}


def rollout(*, gpu: bool) -> Document:
    """How a Deployment replaces its pods.

    On CPUs a new pod is Ready before an old one goes, so that no request finds a stage empty. A new pod on GPUs would
    wait for ever for a device that the old one holds where there is one node with one: there the old one goes first.
    """
    update = {"maxSurge": 0, "maxUnavailable": 1} if gpu else {"maxSurge": 1, "maxUnavailable": 0}
    return {"type": "RollingUpdate", "rollingUpdate": update}


def parse_toleration(text: str) -> Toleration:
    """'key', 'key=value', 'key:NoSchedule' or 'key=value:NoSchedule', as `kubectl taint` writes them."""
    taint, _, effect = text.partition(":")
    key, equals, value = taint.partition("=")
    return Toleration(key=key, value=value if equals else None, effect=effect or None)


def parse_node_selector(words: list[str]) -> dict[str, str]:
    """['a=b', …] -> {'a': 'b', …}

    Raises:
        ManifestError: one without '='.
    """
    for word in words:
        if "=" not in word:
            raise ManifestError(f"the node selector {word!r} has no '=': write it as key=value")
    return dict(word.split("=", 1) for word in words)
