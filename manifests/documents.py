"""Read Kubernetes documents from YAML and JSON files and folders, as kubectl reads them.

`read_file` reports what cannot be read as problems, for lint; `read_documents` raises them, for all else.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from shardline.manifests.rules.rule import Problem, Severity
from shardline.wire.errors import ManifestError

STDIN = Path("-")
_SUFFIXES = (".yaml", ".yml")  # a .json beside them may be anything, a bundle.json for one
_KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedDocument:
    """One parsed document, of whatever type, and the file that it comes from."""

    document: Any
    file: str = ""


def read_documents(path: Path) -> list[dict[str, Any]]:
    """Read every document of a file, of a folder, or of the base of a kustomize tree.

    Raises:
        ManifestError: a file that cannot be read or is not YAML, or an overlay, which only kustomize can build.
    """
    documents = []
    for found in (found for file in find_files([path]) for found in read_file(file)):
        if isinstance(found, Problem):
            raise ManifestError(str(found))
        document = found.document
        if not isinstance(document, dict):
            continue
        if document.get("kind") != "Kustomization":
            documents.append(document)
        elif _is_overlay(document):
            raise ManifestError(
                f"{path} is an overlay, which kubectl builds: give its base, or what `kubectl kustomize {path}` prints"
            )
    return documents


def _is_overlay(kustomization: Mapping[str, Any]) -> bool:
    """True if the kustomization takes documents from elsewhere, or changes them."""
    resources = [str(resource) for resource in kustomization.get("resources") or ()]
    return "patches" in kustomization or not all(resource.endswith(_SUFFIXES) for resource in resources)


def find_files(paths: Sequence[Path]) -> list[Path]:
    """The files themselves, and those of folders as `kubectl apply -f` takes them; `-` is standard input.

    In a folder with a kustomization only what its `resources` name counts, for patches are no documents of their own;
    a folder that has a `base` and no YAML of its own stands for that.

    Raises:
        ManifestError: a path that does not exist or a folder without any.
    """
    files: list[Path] = []
    for path in paths:
        _add(path, files)
    return files


def _add(path: Path, files: list[Path]) -> None:
    """Put a file, or a folder's, behind those that are there; none twice."""
    if path in files:
        return
    if path == STDIN or path.is_file():
        files.append(path)
        if path.name in _KUSTOMIZATIONS:
            for each in _resources(path):
                _add(each, files)
        return
    if not path.is_dir():
        raise ManifestError(f"{path} does not exist: give files or folders of YAML, or - for standard input")
    for each in _members(path):
        _add(each, files)


def _members(folder: Path) -> list[Path]:
    kustomizations = [folder / name for name in _KUSTOMIZATIONS if (folder / name).is_file()]
    files = kustomizations[:1] or sorted(each for each in folder.iterdir() if each.suffix in _SUFFIXES)
    if not files and (folder / "base").is_dir():
        return _members(folder / "base")
    if not files:
        raise ManifestError(f"{folder} holds no .yaml or .yml file: give the folder that was rendered")
    return files


def _resources(kustomization: Path) -> list[Path]:
    """The files and folders that it names; what it would fetch from elsewhere is left out."""
    documents = [each.document for each in read_file(kustomization) if isinstance(each, ParsedDocument)]
    lists = [each.get("resources") for each in documents if isinstance(each, dict)]
    names = [name for each in lists if isinstance(each, list) for name in each if isinstance(name, str)]
    return [Path(os.path.normpath(kustomization.parent / name)) for name in names if "://" not in name]


def read_file(path: Path) -> Iterator[ParsedDocument | Problem]:
    """Every document of a file; a problem where it is no YAML, or holds none."""
    try:
        text = sys.stdin.read() if path == STDIN else path.read_text(encoding="utf-8")
        documents = [each for each in yaml.load_all(text, Loader=_Loader) if each is not None]
    except OSError as exc:
        yield _unreadable(path, f"cannot be read ({exc.strerror}): look at its permissions")
        return
    except UnicodeDecodeError as exc:
        yield _unreadable(path, f"is no text ({exc.reason} at byte {exc.start}): save it as UTF-8")
        return
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        yield _unreadable(path, f"is no YAML ({exc}): kubectl could not read it either")
        return
    if not documents:
        yield _unreadable(path, "holds no document: remove it, or give the file that was meant")
    yield from (ParsedDocument(document=each, file=str(path)) for each in documents)


def _unreadable(path: Path, message: str) -> Problem:
    return Problem(severity=Severity.ERROR, rule="yaml", file=str(path), message=" ".join(message.split()))


class _Loader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):  # type: ignore[misc]  # chosen at run time
    """As kubectl parses: dates stay text, and a key that stands twice is refused."""

    yaml_implicit_resolvers = {  # noqa: RUF012 PyYAML's own way
        first: [each for each in resolvers if each[0] != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        names = [name.value for name, _ in node.value if name.tag != "tag:yaml.org,2002:merge" and name.id == "scalar"]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise yaml.constructor.ConstructorError(None, None, f"the key {name!r} stands twice", node.start_mark)
        found: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return found
