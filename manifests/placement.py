"""Scheduling of a chain's pods: GPUs, node selectors, tolerations, spread, affinity and the rollout strategy."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from shardline.client.labels import PART_OF_LABEL, Document
from shardline.manifests.names import Names
from shardline.wire.errors import UsageError

GPU = "nvidia.com/gpu"
ACCELERATOR_LABEL = "cloud.google.com/gke-accelerator"
HOSTNAME = "kubernetes.io/hostname"

_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_QUALIFIED = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Toleration:
    """Toleration of the taint `key=value:effect`; without a value it matches any value, without an effect all."""

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
    """Nodes for the stages' pods. The transformer and the router run anywhere; `colocate` and `spread` include them.

    Attributes:
        gpu_resource: the resource of which each stage requests one, e.g. 'nvidia.com/gpu' or 'nvidia.com/mig-1g.10gb';
            None for CPUs.
        spread: topology keys over which a component's replicas are spread, if the scheduler can.
        colocate: prefer nodes that run pods of the chain already, so that frames of megabytes cross no network.
    """

    gpu_resource: str | None = None
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    spread: tuple[str, ...] = ()
    colocate: bool = False

    def __post_init__(self) -> None:
        keys = [*self.node_selector, *self.spread, *(toleration.key for toleration in self.tolerations)]
        for key in keys + ([self.gpu_resource] if self.gpu_resource else []):
            if not _QUALIFIED.fullmatch(key):
                raise UsageError(f"{key!r} is not a qualified name: write it as name or domain/name")
        for value in [*self.node_selector.values(), *(toleration.value or "" for toleration in self.tolerations)]:
            if not _VALUE.fullmatch(value):
                raise UsageError(
                    f"{value!r} is not a value of a label or taint: write at most 63 letters, digits, '-', '_', '.'"
                )
        for toleration in self.tolerations:
            if toleration.effect not in (None, *_EFFECTS):
                raise UsageError(f"{toleration.effect!r} is not a taint's effect: write {', '.join(_EFFECTS)}")
        if self.gpu_resource and "/" not in self.gpu_resource:
            raise UsageError(
                f"{self.gpu_resource!r} is not a GPU resource: write it as {GPU} or nvidia.com/mig-1g.10gb"
            )

    def stage_fields(self) -> Document:
        """Build a predictor's nodeSelector and tolerations."""
        tolerations = [toleration.to_dict() for toleration in self.tolerations]
        if self.gpu_resource and not any(toleration.key == GPU for toleration in self.tolerations):
            # Nodes with GPUs have this taint on GKE, and elsewhere if the GPU operator is configured to set it.
            tolerations.append(Toleration(key=GPU, effect="NoSchedule").to_dict())
        return {
            **({"nodeSelector": dict(self.node_selector)} if self.node_selector else {}),
            **({"tolerations": tolerations} if tolerations else {}),
        }

    def spread_fields(self, selector: Mapping[str, str]) -> Document:
        """Build the topologySpreadConstraints of the component whose pods have these labels.

        ScheduleAnyway, since a stage with two pods on one node is better than a stage with one pod.
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
        """Build the preference for nodes that run pods of the chain already."""
        if not self.colocate:
            return {}
        term = {"labelSelector": {"matchLabels": {PART_OF_LABEL: names.app}}, "topologyKey": HOSTNAME}
        preferred = [{"weight": 100, "podAffinityTerm": term}]
        return {"affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}}


def rollout(*, gpu: bool) -> Document:
    """Build a Deployment's rollout strategy.

    On CPUs a new pod is Ready before an old one is deleted, so that a stage always has a pod. On GPUs the old pod is
    deleted first: where there is only one device, the new pod would otherwise wait for it for ever.
    """
    update = {"maxSurge": 0, "maxUnavailable": 1} if gpu else {"maxSurge": 1, "maxUnavailable": 0}
    return {"type": "RollingUpdate", "rollingUpdate": update}


def parse_toleration(text: str) -> Toleration:
    """Read a toleration in `kubectl taint`'s notation: 'key', 'key=value', 'key:NoSchedule', 'key=value:NoSchedule'."""
    taint, _, effect = text.partition(":")
    key, equals, value = taint.partition("=")
    return Toleration(key=key, value=value if equals else None, effect=effect or None)


def parse_node_selector(words: list[str]) -> dict[str, str]:
    """Read node selectors: ['a=b', …] -> {'a': 'b', …}.

    Raises:
        UsageError: one without '='.
    """
    for word in words:
        if "=" not in word:
            raise UsageError(f"the node selector {word!r} has no '=': write it as key=value")
    return dict(word.split("=", 1) for word in words)
