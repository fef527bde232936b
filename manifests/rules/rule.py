"""Lint rules, the documents that they read, and the problems that they report.

A rule checks one thing that KServe or Kubernetes refuses, or that breaks later. It is a generator of findings about one
document; `@rule` names the kinds that it reads, none stands for all. The first line of its docstring is its row in
docs/lint.md. Rules read documents that the typed models have cleaned (models.py): every value that is there has the
type that its model gives it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import ModuleType
from typing import Any

from shardline.client.labels import MODE_ANNOTATION, Document

# constants.go ParseDeploymentMode
_LEGACY_MODES = {"RawDeployment": "Standard", "Serverless": "Knative"}
DEFAULT_NAMESPACE = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container of a document, with its path in the document."""

    path: str
    fields: Document

    @property
    def name(self) -> str:
        """Name of the container, empty if it has none."""
        return str(self.fields.get("name", ""))

    @property
    def args(self) -> list[str]:
        """Arguments of the container."""
        return list(self.fields.get("args", ()))

    @property
    def env(self) -> list[Document]:
        """Environment variables of the container."""
        return list(self.fields.get("env", ()))

    def value(self, variable: str) -> str | None:
        """Look up an environment variable; None if the document does not set it."""
        return next((str(entry.get("value", "")) for entry in self.env if entry.get("name") == variable), None)


def _mapping(value: Any) -> Document:
    return value if isinstance(value, dict) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One document to check, and the others that are applied with it. `document` was cleaned by its typed model."""

    document: Document
    file: str = ""
    scope: "list[Manifest]" = field(default_factory=list, repr=False, compare=False)  # all, including this one

    @property
    def kind(self) -> str:
        return str(self.document.get("kind", ""))

    @property
    def metadata(self) -> Document:
        return _mapping(self.document.get("metadata"))

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
        return _mapping(self.document.get("spec"))

    @property
    def annotations(self) -> Document:
        return _mapping(self.metadata.get("annotations"))

    @property
    def mode(self) -> str | None:
        """Deployment mode of the annotation, by its current name; None leaves it to the cluster."""
        found = self.annotations.get(MODE_ANNOTATION)
        return None if found is None else _LEGACY_MODES.get(str(found), str(found))

    def beside(self, kind: str) -> "Iterator[Manifest]":
        """Iterate over the documents of a kind in this namespace, including this one."""
        return (other for other in self.scope if other.kind == kind and other.namespace == self.namespace)

    def find(self, kind: str, name: str) -> "Manifest | None":
        """Find a document by its kind and name in this namespace."""
        return next((other for other in self.beside(kind) if other.name == name), None)


def containers(pod: Document, path: str, *names: str) -> Iterator[Container]:
    """Iterate over the containers of a pod's spec; `names` are the lists to read."""
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
    """Severity of a problem."""

    ERROR = "error"  # the document is refused, or does not work
    WARNING = "warning"  # it works, but not as a chain should


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A mistake in a document. `path` is that of the field, as in spec.nodes.root.steps[1].data."""

    severity: Severity
    message: str
    rule: str
    file: str = ""
    document: str = ""  # kind and name
    path: str = ""

    @property
    def where(self) -> str:
        """File, document and field of the problem."""
        return ": ".join(part for part in (self.file, self.document, self.path) if part)

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A check of documents. `source` is the file of KServe that the rule follows, or `Kubernetes` or `ours`."""

    id: str
    kinds: tuple[str, ...]
    severity: Severity
    source: str
    summary: str
    check: Check

    def problems(self, manifest: Manifest) -> Iterator[Problem]:
        """Check a document; one of another kind gives nothing."""
        if not self.kinds or manifest.kind in self.kinds:
            for path, message in self.check(manifest):
                yield problem(manifest, path, message, rule=self.id, severity=self.severity)


def rule(*kinds: str, source: str, severity: Severity = Severity.ERROR) -> Callable[[Check], Rule]:
    """Turn a generator of findings into a rule, named after the function."""

    def decorate(check: Check) -> Rule:
        name = check.__name__.replace("_", "-")
        summary = (check.__doc__ or "").strip().partition("\n")[0]
        return Rule(id=name, kinds=kinds, severity=severity, source=source, summary=summary, check=check)

    return decorate


def rules_of(*modules: ModuleType) -> tuple[Rule, ...]:
    """Collect the rules of modules, in the order of their definitions."""
    return tuple(found for module in modules for found in vars(module).values() if isinstance(found, Rule))


def problem(manifest: Manifest, path: str, message: str, *, rule: str, severity: Severity = Severity.ERROR) -> Problem:
    """Make a problem of a finding, its message in one line."""
    return Problem(
        severity=severity,
        message=_one_line(message),
        rule=rule,
        file=manifest.file,
        document=_one_line(manifest.label),
        path=_one_line(path),
    )


def _one_line(text: str) -> str:
    """Join the lines of a text and escape what cannot be printed."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in " ".join(text.split())
    )


def key(path: str, name: object) -> str:
    """Append a key to a path: a.b, or a[b/c.d] if the key contains dots or slashes."""
    text = str(name)
    if not text or set(text) & set("./[] \n"):
        return f"{path}[{text}]"
    return f"{path}.{text}" if path else text


def quoted(names: Mapping[str, Any] | list[str] | tuple[str, ...] | set[str]) -> str:
    """List names in a sentence, sorted: 'a', 'b' and 'c'."""
    words = [repr(name) for name in sorted(names)]
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
