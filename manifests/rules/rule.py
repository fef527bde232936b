"""What a rule is: one thing that KServe or Kubernetes refuses, or that breaks later, and how to see it in a document.

A rule is a generator of findings about one document; `@rule` says of which kinds, none is all. Its docstring's first
line is its row in docs/lint.md. Rules read documents that the typed models have cleaned (models.py), so that every
value has the type which the model gives it; what is missing is missing there, too.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import ModuleType
from typing import Any

Document = Mapping[str, Any]

MODE = "serving.kserve.io/deploymentMode"
# constants.go ParseDeploymentMode
_LEGACY_MODES = {"RawDeployment": "Standard", "Serverless": "Knative"}
DEFAULT_NAMESPACE = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container of a document and where it stands."""

    path: str
    fields: Document

    @property
    def name(self) -> str:
        return str(self.fields.get("name", ""))

    @property
    def args(self) -> list[str]:
        return list(self.fields.get("args", ()))

    @property
    def env(self) -> list[Document]:
        return list(self.fields.get("env", ()))

    def value(self, variable: str) -> str | None:
        """The value of an environment variable as it stands in the document; None where it does not."""
        return next((str(each.get("value", "")) for each in self.env if each.get("name") == variable), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """`document` is a cleaned one: each value has the type that its model tells."""

    document: Document
    file: str = ""
    scope: "list[Manifest]" = field(default_factory=list, repr=False, compare=False)  # all documents, this one too

    @property
    def kind(self) -> str:
        return str(self.document.get("kind", ""))

    @property
    def metadata(self) -> Document:
        found = self.document.get("metadata")
        return found if isinstance(found, Mapping) else {}

    @property
    def name(self) -> str:
        return str(self.metadata.get("name", ""))

    @property
    def namespace(self) -> str:
        return str(self.metadata.get("namespace") or DEFAULT_NAMESPACE)

    @property
    def label(self) -> str:
        if self.kind == "Kustomization":  # has no name
            return self.kind
        return f"{self.kind or 'a document'} {self.name or 'without a name'}"

    @property
    def spec(self) -> Document:
        found = self.document.get("spec")
        return found if isinstance(found, Mapping) else {}

    @property
    def annotations(self) -> Document:
        found = self.metadata.get("annotations")
        return found if isinstance(found, Mapping) else {}

    @property
    def mode(self) -> str | None:
        """The deployment mode that is written here, by its name of today; None leaves it to the cluster."""
        found = self.annotations.get(MODE)
        return None if found is None else _LEGACY_MODES.get(str(found), str(found))

    def beside(self, kind: str) -> "Iterator[Manifest]":
        """The documents of a kind in the same namespace, this one too if it is of that kind."""
        return (each for each in self.scope if each.kind == kind and each.namespace == self.namespace)

    def find(self, kind: str, name: str) -> "Manifest | None":
        return next((each for each in self.beside(kind) if each.name == name), None)


def containers(pod: Document, path: str, *names: str) -> Iterator[Container]:
    """The containers of a pod's spec; `names` are the lists to look in."""
    for name in names or ("containers",):
        for index, fields in enumerate(pod.get(name, ())):
            yield Container(path=f"{path}.{name}[{index}]", fields=fields)


Finding = tuple[str, str]  # path of the field, message
Check = Callable[[Manifest], Iterator[Finding]]

SERVICE, GRAPH, RUNTIME, CLUSTER_RUNTIME = (
    "InferenceService",
    "InferenceGraph",
    "ServingRuntime",
    "ClusterServingRuntime",
)


class Severity(StrEnum):
    ERROR = "error"  # refused, or it does not work
    WARNING = "warning"  # it works, but not as a chain should


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong. `path` is that of the field, as in spec.nodes.root.steps[1].data."""

    severity: Severity
    message: str
    rule: str
    file: str = ""
    document: str = ""  # kind and name
    path: str = ""

    @property
    def where(self) -> str:
        return ": ".join(part for part in (self.file, self.document, self.path) if part)

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """`source` is the file of KServe that the rule follows, or says whose rule it is."""

    id: str
    kinds: tuple[str, ...]
    severity: Severity
    source: str
    summary: str
    check: Check

    def problems(self, manifest: Manifest) -> Iterator[Problem]:
        """What the rule finds in a document; nothing in one of another kind."""
        if not self.kinds or manifest.kind in self.kinds:
            for path, message in self.check(manifest):
                yield problem(manifest, path, message, rule=self.id, severity=self.severity)


def rule(*kinds: str, source: str, severity: Severity = Severity.ERROR) -> Callable[[Check], Rule]:
    """Make a rule of a generator of findings; the function's name is the rule's."""

    def decorate(check: Check) -> Rule:
        name = check.__name__.replace("_", "-")
        summary = (check.__doc__ or "").strip().partition("\n")[0]
        return Rule(id=name, kinds=kinds, severity=severity, source=source, summary=summary, check=check)

    return decorate


def rules_of(*modules: ModuleType) -> tuple[Rule, ...]:
    """The rules of modules, in the order in which they are written."""
    return tuple(each for module in modules for each in vars(module).values() if isinstance(each, Rule))


def problem(manifest: Manifest, path: str, message: str, *, rule: str, severity: Severity = Severity.ERROR) -> Problem:
    one_line = " ".join(message.split())
    return Problem(
        severity=severity, message=one_line, rule=rule, file=manifest.file, document=manifest.label, path=path
    )


def key(path: str, name: object) -> str:
    """`path` with one more step: a.b, or a[b/c.d] where the name has dots or slashes of its own."""
    text = str(name)
    if not text or set(text) & set("./[] \n"):
        return f"{path}[{text}]"
    return f"{path}.{text}" if path else text


def quoted(names: Mapping[str, Any] | list[str] | tuple[str, ...] | set[str]) -> str:
    """'a', 'b' and 'c', in order."""
    words = [repr(name) for name in sorted(names)]
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
