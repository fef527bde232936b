"""YAML files -> documents: one file, a folder's, or the base of a kustomize tree."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from shardline.wire.errors import ManifestError

Document = Mapping[str, Any]

_SUFFIXES = (".yaml", ".yml")


def read_documents(path: Path) -> list[Document]:
    """All documents at `path` but what kustomize alone reads.

    Raises:
        ManifestError: a file that cannot be read or is no YAML, or an overlay, which only kustomize can build.
    """
    documents = []
    for document in _parsed(path):
        if document.get("kind") != "Kustomization":
            documents.append(document)
        elif _is_overlay(document):
            raise ManifestError(
                f"{path} is an overlay, which kubectl builds: give its base, or what `kubectl kustomize {path}` prints"
            )
    return documents


def _parsed(path: Path) -> Iterator[Document]:
    for file in _files(path):
        try:
            parsed = list(yaml.safe_load_all(file.read_text()))
        except OSError as exc:
            raise ManifestError(f"{file} cannot be read ({exc.strerror}): give a rendered folder or file") from exc
        except (yaml.YAMLError, UnicodeDecodeError) as exc:
            raise ManifestError(f"{file} is no YAML ({' '.join(str(exc).split())}): render it again") from exc
        yield from (each for each in parsed if isinstance(each, dict))


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(each for each in path.iterdir() if each.suffix in _SUFFIXES)
    return files if files or not (path / "base").is_dir() else _files(path / "base")


def _is_overlay(kustomization: Document) -> bool:
    """Whether it takes documents from elsewhere, or changes them."""
    resources = [str(each) for each in kustomization.get("resources") or ()]
    return "patches" in kustomization or not all(each.endswith(_SUFFIXES) for each in resources)
