"""Documents against CRD files: a small one with the constructs of KServe's own."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from shardline.manifests.lint import lint, lint_files
from shardline.wire.errors import ManifestError

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": {
            "type": "object",
            "required": ["nodes"],
            "properties": {
                "nodes": {
                    "type": "object",
                    "additionalProperties": {
                        "type": "object",
                        "required": ["routerType"],
                        "properties": {
                            "routerType": {"type": "string", "enum": ["Sequence", "Switch"]},
                            "steps": {
                                "type": "array",
                                "items": {"type": "object", "properties": {"weight": {"type": "integer"}}},
                            },
                        },
                    },
                },
                "port": {
                    "x-kubernetes-int-or-string": True,
                    "anyOf": [{"type": "integer"}, {"type": "string"}],
                    "pattern": "^[0-9a-z]+$",
                },
                "note": {"type": "string", "nullable": True},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {}},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "count": {"type": "integer", "format": "int32", "minimum": 1},
            },
        },
    },
}
DOCUMENT: dict[str, Any] = {
    "apiVersion": "example.com/v1",
    "kind": "Chain",
    "metadata": {"name": "net", "labels": {"a": "b"}},
    "spec": {
        "nodes": {"root": {"routerType": "Sequence", "steps": [{"weight": 1}]}},
        "port": 8080,
        "note": None,
        "free": {"any": ["thing"]},
        "labels": {"x": "y"},
        "count": 2,
    },
}


def crd(schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "chains.example.com"},
        "spec": {
            "group": "example.com",
            "names": {"kind": "Chain", "plural": "chains"},
            "versions": [{"name": "v1", "served": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


def with_spec(**changes: Any) -> dict[str, Any]:
    changed = copy.deepcopy(DOCUMENT)
    changed["spec"].update(changes)
    return changed


@pytest.mark.parametrize("document", [DOCUMENT, with_spec(port="http"), with_spec(note="x"), with_spec(count=None)])
def test_what_the_schema_allows_has_no_problem(document: dict[str, Any]) -> None:
    assert lint([document], [crd(SCHEMA)]) == []


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"ports": 1}, "spec: the CRD knows no field ports: remove it or check its spelling"),
        ({"nodes": None}, "spec: the CRD requires nodes: add it"),
        ({"nodes": {"root": {}}}, "spec.nodes.root: the CRD requires routerType: add it"),
        (
            {"nodes": {"root": {"routerType": "Chain"}}},
            "spec.nodes.root.routerType: found 'Chain', the CRD allows Sequence, Switch",
        ),
        (
            {"nodes": {"root": {"routerType": "Switch", "steps": [{}, {"weigth": 1}]}}},
            "spec.nodes.root.steps[1]: the CRD knows no field weigth: remove it or check its spelling",
        ),
        ({"port": 1.5}, "spec.port: found 1.5, the CRD allows integer or string"),
        ({"port": "a b"}, "spec.port: found 'a b', the CRD allows pattern ^[0-9a-z]+$"),
        ({"labels": {"x": 1}}, "spec.labels.x: found 1, the CRD allows string"),
        ({"count": 0}, "spec.count: found 0, the CRD allows minimum 1"),
        ({"count": True}, "spec.count: found true, the CRD allows integer"),
    ],
)
def test_what_the_schema_refuses_is_told(changes: dict[str, Any], line: str) -> None:
    [problem] = lint([with_spec(**changes)], [crd(SCHEMA)])

    assert str(problem) == f"Chain net: {line}"
    assert (problem.rule, problem.severity) == ("crd", "error")


def test_documents_of_other_kinds_and_versions_are_left_alone() -> None:
    other = {**with_spec(ports=1), "apiVersion": "example.com/v2"}

    assert lint([other], [crd(SCHEMA)]) == []


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        {
            "type": "object",
            "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            "x-kubernetes-map-type": "atomic",
        },
    ],
)
def test_a_crd_that_accepts_everything_is_told(schema: dict[str, Any]) -> None:
    [problem] = lint([with_spec(ports=1)], [crd(schema)])

    assert problem.severity == "warning"
    assert str(problem) == "the CRD of Chain accepts any spec: give one of config/crd/full, not of config/crd/minimal"


def test_a_reference_to_elsewhere_is_not_followed() -> None:
    """A CRD must not have one, and nothing here may open a connection."""
    schema = copy.deepcopy(SCHEMA)
    schema["properties"]["spec"]["properties"]["note"] = {"$ref": "http://127.0.0.1:1/schema"}

    assert lint([with_spec(note="x")], [crd(schema)]) == []


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"kind": "CustomResourceDefinition"}, "a CustomResourceDefinition is invalid (KeyError('spec'))"),
        (crd({"properties": {"spec": {"properties": {"port": {"type": "no type"}}}}}), "the CRD of Chain is invalid"),
        (crd({"properties": {"spec": 5}}), "a CustomResourceDefinition is invalid"),
        (crd({"properties": {"spec": {"properties": {"port": {"pattern": "("}}}}}), "the CRD of Chain is invalid"),
    ],
)
def test_a_broken_crd_is_one_line(broken: dict[str, Any], message: str) -> None:
    with pytest.raises(ManifestError) as raised:
        lint([with_spec(port="a")], [broken])

    assert message.replace("the CRD of", "the CustomResourceDefinition of") in str(raised.value)
    assert str(raised.value).endswith("give the file that KServe ships")


def test_a_folder_of_crds_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "crds"
    folder.mkdir()
    (folder / "chains.yaml").write_text(yaml.safe_dump(crd(SCHEMA)))
    (folder / "other.yaml").write_text("apiVersion: v1\nkind: Namespace\nmetadata: {name: kserve}\n")
    (tmp_path / "net.yaml").write_text(yaml.safe_dump(with_spec(ports=1)))

    [problem] = lint_files([tmp_path / "net.yaml"], folder).problems

    assert problem.path == "spec"
    assert problem.file == f"{tmp_path}/net.yaml"


def test_a_folder_without_crds_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text(yaml.safe_dump(DOCUMENT))

    with pytest.raises(ManifestError, match="holds no CustomResourceDefinition: give KServe's config/crd/full"):
        lint_files([tmp_path / "net.yaml"], tmp_path)
