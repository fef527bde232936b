"""One document and those beside it, as rules read them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
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
