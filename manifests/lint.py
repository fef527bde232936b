"""Check a chain's Kubernetes documents without a cluster: what it would reject, or accept and then fail on.

There are three layers: the typed models of the kserve and kubernetes packages (rules/models.py), CRD files if they are
given (rules/crds.py), and rules: those of KServe's webhooks and controllers, known traps, and how the parts of a chain
fit together. docs/adr/0037-what-lint-is-for.md says what is not checked.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shardline.manifests.documents import ParsedDocument, find_files, read_file
from shardline.manifests.rules import chain, graph, objects, runtimes, scaling, service, traps
from shardline.manifests.rules.crds import Schemas, compile_crds, read_crds
from shardline.manifests.rules.models import read_document
from shardline.manifests.rules.rule import Manifest, Problem, Rule, Severity, problem, rules_of
from shardline.manifests.rules.scalars import shown
from shardline.wire.errors import ManifestError

__all__ = ["RULES", "LintReport", "Problem", "Severity", "check", "lint", "lint_files"]

# rule ids of problems that schemas find
MODEL, CRD = "typed-model", "crd"

RULES: tuple[Rule, ...] = rules_of(objects, graph, chain, service, scaling, traps, runtimes)


@dataclass(frozen=True, slots=True, kw_only=True)
class LintReport:
    """Problems of files, and how many files and documents were read."""

    problems: tuple[Problem, ...]
    documents: int
    files: int

    def count(self, severity: Severity) -> int:
        """Count the problems of a severity."""
        return sum(problem.severity == severity for problem in self.problems)


def lint(documents: Sequence[Mapping[str, Any]], crds: Sequence[Mapping[str, Any]] = ()) -> list[Problem]:
    """Check documents that are to be applied together; returns the problems in the documents' order.

    `crds` are CustomResourceDefinitions: documents of their kinds are validated against their schemas, too.

    Raises:
        ManifestError: an invalid CRD.
    """
    return _lint([ParsedDocument(document=document) for document in documents], crds)


def check(documents: Sequence[Mapping[str, Any]], crds: Sequence[Mapping[str, Any]] = ()) -> list[Problem]:
    """Check documents and raise if there are errors; returns the warnings.

    Raises:
        ManifestError: there are errors; the message lists them all, one per line.
    """
    problems = lint(documents, crds)
    errors = [str(problem) for problem in problems if problem.severity is Severity.ERROR]
    if errors:
        count = f"{len(errors)} error{'s' if len(errors) > 1 else ''}"
        raise ManifestError("\n".join([f"a cluster would not run these documents, {count}:", *errors]))
    return problems


def lint_files(paths: Sequence[Path], crds: Path | None = None) -> LintReport:
    """Check files and folders, read as `kubectl apply -f` reads them; `-` stands for standard input.

    Raises:
        FileError: a path that does not exist, or a folder without YAML.
        ManifestError: invalid CRDs.
    """
    files = find_files(paths)
    found = [item for file in files for item in read_file(file)]
    documents = [item for item in found if isinstance(item, ParsedDocument)]
    unreadable = [item for item in found if isinstance(item, Problem)]
    problems = (*unreadable, *_lint(documents, read_crds(crds) if crds else ()))
    return LintReport(problems=problems, documents=len(documents), files=len(files))


def _lint(documents: Sequence[ParsedDocument], crds: Sequence[Mapping[str, Any]]) -> list[Problem]:
    schemas = compile_crds(crds)
    scope: list[Manifest] = []
    found: list[list[Problem]] = []
    for parsed in (member for document in documents for member in _members(document)):
        manifest, problems = _read(parsed, scope)
        scope.append(manifest)
        found.append(problems + _crd_problems(manifest, parsed, schemas))
    for manifest, problems in zip(scope, found, strict=True):
        problems += [problem for rule in RULES for problem in rule.problems(manifest)]
    return [*_open_crds(schemas), *(problem for problems in found for problem in problems)]


def _members(parsed: ParsedDocument) -> Iterator[ParsedDocument]:
    """Split a List, as `kubectl get -o yaml` writes it, into its documents; another document is returned itself."""
    match parsed.document:
        case {"kind": "List", "items": list(items)}:
            yield from (ParsedDocument(document=item, file=parsed.file) for item in items)
        case _:
            yield parsed


def _read(parsed: ParsedDocument, scope: list[Manifest]) -> tuple[Manifest, list[Problem]]:
    """Validate a document against its typed model; returns it cleaned, and the problems."""
    if not isinstance(parsed.document, Mapping):
        manifest = Manifest(document={}, file=parsed.file, scope=scope)
        message = f"found {shown(parsed.document)}, allowed is a mapping with apiVersion, kind and metadata"
        return manifest, [problem(manifest, "", message, rule=MODEL)]
    findings, cleaned = read_document(parsed.document)
    manifest = Manifest(document=cleaned, file=parsed.file, scope=scope)
    return manifest, [problem(manifest, path, message, rule=MODEL) for path, message in findings]


def _crd_problems(manifest: Manifest, parsed: ParsedDocument, schemas: Schemas) -> list[Problem]:
    if not isinstance(parsed.document, Mapping):
        return []
    return [problem(manifest, path, message, rule=CRD) for path, message in schemas.findings(parsed.document)]


def _open_crds(schemas: Schemas) -> Iterator[Problem]:
    for kind in dict.fromkeys(schemas.open_kinds):
        message = f"the CRD of {kind} accepts any spec: give one of config/crd/full, not of config/crd/minimal"
        yield Problem(severity=Severity.WARNING, message=message, rule=CRD)
