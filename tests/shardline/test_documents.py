"""`render` and `lint` of the Python API: documents of a bundle, and what a cluster would refuse of them."""

from pathlib import Path

import pytest
import yaml
from services.processes import ROOT

import shardline

BUNDLE = ROOT / "manifests" / "resnet50" / "bundle.json"


def test_documents_of_a_bundle_pass_lint() -> None:
    documents = shardline.render(BUNDLE, storage="gs://bucket/models", name="net", namespace="vision")

    assert {"InferenceGraph", "InferenceService"} <= {document["kind"] for document in documents}
    assert {document["metadata"]["namespace"] for document in documents} == {"vision"}
    assert shardline.lint(documents) == []


def test_default_storage_is_the_folder() -> None:
    documents = shardline.render(str(BUNDLE))

    assert f"{BUNDLE.parent.as_uri()}/stages/0" in yaml.safe_dump_all(documents)


def test_lint_finds_what_a_cluster_refuses(tmp_path: Path) -> None:
    documents = shardline.render(BUNDLE, storage="gs://bucket/models")
    documents[0]["metadata"]["name"] = "Not A Name"
    path = tmp_path / "chain.yaml"
    path.write_text(yaml.safe_dump_all(documents))
    found = [problem for problem in shardline.lint(documents) if "Not A Name" in str(problem)]

    assert found
    assert [problem.message for problem in shardline.lint(path) if "Not A Name" in str(problem)] == [
        problem.message for problem in found
    ]


def test_unknown_option() -> None:
    with pytest.raises(shardline.ShardlineError, match="'serverless'"):
        shardline.render(BUNDLE, mode="serverless")
