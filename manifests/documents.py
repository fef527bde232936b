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
from shardline.wire.errors import FileError, ManifestError
from shardline.wire.files import TEXT_BYTES, read_bounded

STDIN = Path("-")
_MOST_VALUES = 1_000_000  # in all documents of a file
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
        FileError: the path does not exist, or has no YAML.
        ManifestError: a file that cannot be read or is not YAML, or an overlay, which only kustomize can build.
    """
    return [document for _, document in read_with_files(path)]


def read_with_files(path: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Read the documents as `read_documents` does, each with the file that it comes from.

    Raises:
        FileError, ManifestError: see `read_documents`.
    """
    documents = []
    for file in find_files([path]):
        for found in read_file(file):
            if isinstance(found, Problem):
                raise ManifestError(str(found))
            document = found.document
            if not isinstance(document, dict):
                continue
            if document.get("kind") != "Kustomization":
                documents.append((file, document))
            elif _is_overlay(document):
                raise ManifestError(
                    f"{path} is an overlay, which kubectl builds: give its base, or what `kubectl kustomize {path}` "
                    "prints"
                )
    return documents


def _is_overlay(kustomization: Mapping[str, Any]) -> bool:
    """True if the kustomization takes documents from elsewhere, or changes them."""
    resources = [str(resource) for resource in kustomization.get("resources") or ()]
    return "patches" in kustomization or not all(resource.endswith(_SUFFIXES) for resource in resources)


def find_files(paths: Sequence[Path]) -> list[Path]:
    """List the files to read: those given, and those of folders as `kubectl apply -f` takes them; `-` is stdin.

    Of a folder with a kustomization only its `resources` are read, since patches are not documents of their own. A
    folder without YAML that has a folder `base` stands for that.

    Raises:
        FileError: a path that does not exist, or a folder without YAML.
    """
    files: list[Path] = []
    for path in paths:
        _add(path, files)
    return files


def _add(path: Path, files: list[Path]) -> None:
    """Append a file, or a folder's files, to `files`; none twice."""
    if path in files:
        return
    if path == STDIN or path.is_file():
        files.append(path)
        if path.name in _KUSTOMIZATIONS:
            for resource in _resources(path):
                _add(resource, files)
        return
    if not path.is_dir():
        raise FileError(f"{path} does not exist: give files or folders of YAML, or - for standard input")
    for member in _members(path):
        _add(member, files)


def _members(folder: Path) -> list[Path]:
    kustomizations = [folder / name for name in _KUSTOMIZATIONS if (folder / name).is_file()]
    files = kustomizations[:1] or sorted(file for file in folder.iterdir() if file.suffix in _SUFFIXES)
    if not files and (folder / "base").is_dir():
        return _members(folder / "base")
    if not files:
        raise FileError(f"{folder} holds no .yaml or .yml file: give the folder that was rendered")
    return files


def _resources(kustomization: Path) -> list[Path]:
    """List the files and folders that a kustomization names; remote ones are left out."""
    documents = [found.document for found in read_file(kustomization) if isinstance(found, ParsedDocument)]
    lists = [document.get("resources") for document in documents if isinstance(document, dict)]
    names = [name for names in lists if isinstance(names, list) for name in names if isinstance(name, str)]
    return [Path(os.path.normpath(kustomization.parent / name)) for name in names if "://" not in name]


def read_file(path: Path) -> Iterator[ParsedDocument | Problem]:
    """Read every document of a file; a file that is not YAML, or has no document, gives a problem."""
    try:
        text = sys.stdin.read(TEXT_BYTES) if path == STDIN else read_bounded(path).decode()
        documents = [document for document in yaml.load_all(text, Loader=_Loader) if document is not None]
        if _values(documents, {}) > _MOST_VALUES:
            raise ValueError(f"its aliases make more than {_MOST_VALUES} values of it")
    except OSError as exc:
        yield _unreadable(path, f"cannot be read ({exc.strerror}): check its permissions")
        return
    except FileError as exc:
        yield _unreadable(path, str(exc).removeprefix(f"{path} "))
        return
    except UnicodeDecodeError as exc:
        yield _unreadable(path, f"is not text ({exc.reason} at byte {exc.start}): save it as UTF-8")
        return
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        yield _unreadable(path, f"is not YAML ({exc}): correct it, since kubectl cannot read it either")
        return
    if not documents:
        yield _unreadable(path, "holds no document: remove it, or give another file")
    yield from (ParsedDocument(document=document, file=str(path)) for document in documents)


def _values(value: Any, known: dict[int, int]) -> int:
    """Count the values in a document as if each alias were written out, in time linear in the text.

    Raises:
        ValueError: an alias that contains itself.
    """
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        known[id(value)] = -1
        children = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_values(child, known) for child in children)
    if known[id(value)] < 0:
        raise ValueError("an alias contains itself")
    return known[id(value)]


def _unreadable(path: Path, message: str) -> Problem:
    return Problem(severity=Severity.ERROR, rule="yaml", file=str(path), message=" ".join(message.split()))


class _Loader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):  # type: ignore[misc]  # chosen at run time
    """YAML loader that parses as kubectl does: dates stay text, and duplicate keys are refused."""

    yaml_implicit_resolvers = {  # noqa: RUF012 PyYAML's own way
        first: [resolver for resolver in resolvers if resolver[0] != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        names = [name.value for name, _ in node.value if name.tag != "tag:yaml.org,2002:merge" and name.id == "scalar"]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise yaml.constructor.ConstructorError(None, None, f"the key {name!r} is given twice", node.start_mark)
        found: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return found
