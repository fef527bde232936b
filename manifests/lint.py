"""Kubernetes documents checked without a cluster: what a cluster would refuse, or take and then trip over.

Three layers: the typed models of the kserve and kubernetes packages (rules/models.py), CRD files where they are given
(rules/crds.py), and rules: those of KServe's webhooks and controllers, and what else breaks a chain.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shardline.manifests.documents import ParsedDocument, find_files, read_file
from shardline.manifests.rules import chain, graph, objects, runtimes, scaling, service, traps
from shardline.manifests.rules.crds import Schemas, compile_crds, read_crds
from shardline.manifests.rules.models import Cleaned, read_document
from shardline.manifests.rules.rule import Finding, Manifest, Problem, Rule, Severity, problem, rules_of
from shardline.manifests.rules.scalars import shown
from shardline.wire.errors import ManifestError

__all__ = ["RULES", "LintReport", "Problem", "Severity", "check", "lint", "lint_files"]

# the ids of what comes from schemas
MODEL, CRD = "typed-model", "crd"

RULES: tuple[Rule, ...] = rules_of(objects, graph, chain, service, scaling, traps, runtimes)


@dataclass(frozen=True, slots=True, kw_only=True)
class LintReport:
    """What was found in files."""

    problems: tuple[Problem, ...]
    documents: int
    files: int

    def count(self, severity: Severity) -> int:
        return sum(each.severity == severity for each in self.problems)


def lint(documents: Sequence[Mapping[str, Any]], crds: Sequence[Mapping[str, Any]] = ()) -> list[Problem]:
    """Every problem of documents that are to be applied together, in the documents' order.

    `crds` are CustomResourceDefinitions, whose schemas the documents of their kinds are held against.

    Raises:
        ManifestError: a CRD of a wrong shape.
    """
    return _lint([ParsedDocument(document=each) for each in documents], crds)


def check(documents: Sequence[Mapping[str, Any]], crds: Sequence[Mapping[str, Any]] = ()) -> list[Problem]:
    """As `lint`; only warnings come back.

    Raises:
        ManifestError: there are errors; its message lists them all, one a line.
    """
    problems = lint(documents, crds)
    errors = [str(each) for each in problems if each.severity is Severity.ERROR]
    if errors:
        count = f"{len(errors)} error{'s' if len(errors) > 1 else ''}"
        raise ManifestError("\n".join([f"a cluster would not run these documents, {count}:", *errors]))
    return problems


def lint_files(paths: Sequence[Path], crds: Path | None = None) -> LintReport:
    """Every problem of files and folders, read as `kubectl apply -f` reads them; `-` is standard input.

    Raises:
        ManifestError: a path that does not exist, a folder without YAML, or CRDs that are none.
    """
    files = find_files(paths)
    read = [each for file in files for each in read_file(file)]
    sources = [each for each in read if isinstance(each, ParsedDocument)]
    problems = [*(each for each in read if isinstance(each, Problem)), *_lint(sources, read_crds(crds) if crds else ())]
    return LintReport(problems=tuple(problems), documents=len(sources), files=len(files))


def _lint(sources: Sequence[ParsedDocument], crds: Sequence[Mapping[str, Any]]) -> list[Problem]:
    schemas = compile_crds(crds)
    scope: list[Manifest] = []
    found: list[list[Problem]] = []
    for source in (each for whole in sources for each in _members(whole)):
        manifest, problems = _read(source, scope)
        scope.append(manifest)
        found.append(problems + _against_crd(manifest, source, schemas))
    for manifest, problems in zip(scope, found, strict=True):
        problems += [each for rule in RULES for each in rule.problems(manifest)]
    return [*_of_crds(schemas), *(each for problems in found for each in problems)]


def _members(source: ParsedDocument) -> Iterator[ParsedDocument]:
    """The documents of a List, which `kubectl get -o yaml` writes; anything else is itself."""
    match source.document:
        case {"kind": "List", "items": list(items)}:
            yield from (ParsedDocument(document=each, file=source.file) for each in items)
        case _:
            yield source


def _read(source: ParsedDocument, scope: list[Manifest]) -> tuple[Manifest, list[Problem]]:
    """The cleaned document, and where it is not what its typed model says."""
    if not isinstance(source.document, Mapping):
        manifest = Manifest(document={}, file=source.file, scope=scope)
        message = f"found {shown(source.document)}, allowed is a mapping with apiVersion, kind and metadata"
        return manifest, [problem(manifest, "", message, rule=MODEL)]
    findings, cleaned = _drain(read_document(source.document))
    manifest = Manifest(document=cleaned, file=source.file, scope=scope)
    return manifest, [problem(manifest, path, message, rule=MODEL) for path, message in findings]


def _drain(reader: Generator[Finding, None, Cleaned]) -> tuple[list[Finding], Cleaned]:
    findings = []
    while True:
        try:
            findings.append(next(reader))
        except StopIteration as end:
            return findings, end.value


def _against_crd(manifest: Manifest, source: ParsedDocument, schemas: Schemas) -> list[Problem]:
    if not isinstance(source.document, Mapping):
        return []
    return [problem(manifest, path, message, rule=CRD) for path, message in schemas.findings(source.document)]


def _of_crds(schemas: Schemas) -> Iterator[Problem]:
    for kind in dict.fromkeys(schemas.open_kinds):
        message = f"the CRD of {kind} accepts any spec: give one of config/crd/full, not of config/crd/minimal"
        yield Problem(severity=Severity.WARNING, message=message, rule=CRD)
