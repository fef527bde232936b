"""Documents of files and folders, as kubectl reads them."""

from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from services.lint_cases import GOOD

from shardline.manifests.lint import Severity, lint_files
from shardline.wire.errors import FileError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no document: remove it, or give another file"),
        ("---\n# nothing\n---\n", "holds no document"),
        ("kind: [", "is not YAML (while parsing a flow"),
        ("a: b: c", "is not YAML (mapping values are not allowed"),
        ("kind: A\nkind: B\n", "is not YAML (the key 'kind' is given twice"),
        ("!!python/object:os.system {}", "is not YAML (could not determine a constructor"),
        ("? [a]\n: b", "is not YAML ("),
        (f"n: {'9' * 5000}", "is not YAML (Exceeds the limit"),
        ("just text", "found 'just text', allowed is a mapping with apiVersion, kind and metadata"),
        ("- 1\n- 2", "found a list, allowed is a mapping"),
    ],
)
def test_what_is_no_document_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(text)

    [problem] = lint_files([path]).problems

    assert problem.message.startswith(message)
    assert problem.where.startswith(str(path))
    assert problem.severity is Severity.ERROR


def test_a_file_of_bytes_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_bytes(b"\xff\xfe\x00")

    [problem] = lint_files([path]).problems

    assert problem.message == "is not text (invalid start byte at byte 0): save it as UTF-8"


def test_dates_are_text_as_kubectl_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_text("apiVersion: v1\nkind: Namespace\nmetadata: {name: demo, annotations: {built: 2026-01-01}}\n")

    assert lint_files([path]).problems == ()


def test_documents_of_several_files_are_one_set(tmp_path: Path) -> None:
    """And each problem names its file."""
    for index, document in enumerate(GOOD[:4]):
        (tmp_path / f"{index}.yaml").write_text(yaml.safe_dump(document))
    (tmp_path / "copy.yml").write_text(yaml.safe_dump(GOOD[1]))
    (tmp_path / "notes.txt").write_text("kind: [")

    report = lint_files([tmp_path])

    assert [str(problem) for problem in report.problems] == [
        f"{tmp_path}/copy.yml: InferenceService net-0: metadata.name: InferenceService net-0 in namespace demo is "
        f"given twice: remove one of {tmp_path}/1.yaml"
    ]
    assert (report.documents, report.files) == (5, 5)


def test_of_a_kustomization_its_resources_are_read(tmp_path: Path) -> None:
    overlay, base = tmp_path / "overlays" / "gpu", tmp_path / "base"
    overlay.mkdir(parents=True)
    base.mkdir()
    (base / "kustomization.yaml").write_text(
        "kind: Kustomization\napiVersion: kustomize.config.k8s.io/v1beta1\nresources: [net.yaml, .]"
    )
    (base / "net.yaml").write_text(yaml.safe_dump_all(GOOD[:4]))
    (overlay / "patch.yaml").write_text("kind: InferenceService")
    (overlay / "kustomization.yaml").write_text(
        "kind: Kustomization\napiVersion: kustomize.config.k8s.io/v1beta1\n"
        "resources: [../../base, 'https://example.com/x']\npatches: [{path: patch.yaml}]"
    )

    report = lint_files([overlay])

    assert report.documents == 6
    assert [problem.rule for problem in report.problems] == ["kustomization-patches"]
    assert lint_files([tmp_path]).files == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [("missing", "does not exist: give files or folders of YAML"), ("empty", "holds no .yaml or .yml file")],
)
def test_a_path_without_documents_is_an_error(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(FileError, match=message):
        lint_files([tmp_path / name])


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in pairwise("abcdefghijkl")
)


@pytest.mark.parametrize(
    ("text", "message"),
    [(BOMB, "its aliases make more than 1000000 values"), ("a: &a [*a]\n", "an alias contains itself")],
)
def test_aliases_that_explode_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bomb.yaml").write_text(text)

    [problem] = lint_files([tmp_path]).problems

    assert message in problem.message
