"""Options of a cluster: the kubeconfig, its context, and the namespace."""

from pathlib import Path

import pytest
import yaml

from shardline.options.cluster import ClusterOptions
from shardline.wire.errors import ClusterError


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    path = tmp_path / "config"
    document = {
        "clusters": [{"name": "here", "cluster": {"server": "http://127.0.0.1:9"}}],
        "users": [{"name": "me", "user": {}}],
        "contexts": [{"name": "vision", "context": {"cluster": "here", "user": "me", "namespace": "vision"}}],
        "current-context": "vision",
    }
    path.write_text(yaml.safe_dump(document))
    return path


def test_namespace_is_the_contexts_unless_one_is_given(kubeconfig: Path) -> None:
    assert ClusterOptions(namespace=None, kubeconfig=kubeconfig, context=None).connect()[1] == "vision"
    assert ClusterOptions(namespace="other", kubeconfig=kubeconfig, context="vision").connect()[1] == "other"


def test_unknown_context(kubeconfig: Path) -> None:
    with pytest.raises(ClusterError, match="nowhere"):
        ClusterOptions(namespace=None, kubeconfig=kubeconfig, context="nowhere").connect()
