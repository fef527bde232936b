"""YAML and JSON files -> documents, as kubectl reads them; what cannot be read is a problem, not an error."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from manifests.rules.rule import Problem, Severity
from wire.errors import ManifestError

STDIN = Path("-")
_SUFFIXES = (".yaml", ".yml", ".json")
_KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One parsed document, of whatever type, and the file it comes from."""

    document: Any
    file: str = ""


def find_files(paths: Sequence[Path]) -> list[Path]:
    """The files themselves, and those of folders as `kubectl apply -f` takes them; `-` is standard input.

    In a folder with a kustomization only what its `resources` name counts: patches are no documents of their own.

    Raises:
        ManifestError: a path that does not exist or a folder without any.
    """
    files = [file for path in paths for file in _files_of(path)]
    return list(dict.fromkeys(files))


def _files_of(path: Path) -> list[Path]:
    if path == STDIN or path.is_file():
        return [path]
    if not path.is_dir():
        raise ManifestError(f"{path} does not exist: give files or folders of YAML, or - for standard input")
    for name in _KUSTOMIZATIONS:
        if (path / name).is_file():
            return [path / name, *_resources(path / name)]
    files = sorted(each for each in path.iterdir() if each.suffix in _SUFFIXES and each.is_file())
    if not files:
        raise ManifestError(f"{path} holds no {', '.join(_SUFFIXES)} file: give the folder that was rendered")
    return files


def _resources(kustomization: Path) -> list[Path]:
    documents = [each.document for each in read_file(kustomization) if isinstance(each, Source)]
    named = [name for each in documents if isinstance(each, dict) for name in each.get("resources") or ()]
    paths = [kustomization.parent / name for name in named if isinstance(name, str)]
    return [file for path in paths for file in _files_of(path)]


def read_file(path: Path) -> Iterator[Source | Problem]:
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
    yield from (Source(document=each, file=str(path)) for each in documents)


def _unreadable(path: Path, message: str) -> Problem:
    return Problem(severity=Severity.ERROR, rule="yaml", file=str(path), message=" ".join(message.split()))


class _Loader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):  # type: ignore[misc]
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
