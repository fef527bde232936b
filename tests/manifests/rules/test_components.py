"""Components of an InferenceService, as KServe's controller reads them."""

from typing import Any

import pytest

from shardline.manifests.rules.components import Component, model_name, named_in, protocol
from shardline.manifests.rules.rule import Manifest


def service(**spec: Any) -> Manifest:
    return Manifest(document={"kind": "InferenceService", "metadata": {"name": "net"}, "spec": spec})


@pytest.mark.parametrize(
    ("args", "name"),
    [
        ([], ""),
        (["--model_name=a"], "a"),
        (["--model_name", "a"], "a"),
        (["--model_name=a", "b"], "b"),
        (["--model_name=a=b"], ""),
        (["--model_name=a", "--workers=2"], "a"),
    ],
)
def test_model_names_are_read_with_kserves_oddities(args: list[str], name: str) -> None:
    assert named_in(args) == name


def test_the_graph_asks_the_transformer_by_its_own_name_first() -> None:
    front = {"containers": [{"name": "kserve-container", "args": ["--model_name=front"]}]}
    back = {"model": {"args": ["--model_name=back"]}}

    assert model_name(service(predictor=back, transformer=front)) == "front"
    assert model_name(service(predictor=back)) == "back"
    assert model_name(service(predictor={"model": {}})) == "net"


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ({"predictor": {"model": {}}}, "v1"),
        ({"predictor": {"model": {"protocolVersion": "v2"}}}, "v2"),
        ({"predictor": {"containers": [{"env": [{"name": "PROTOCOL", "value": "v2"}]}]}}, "v2"),
        ({"predictor": {"model": {"protocolVersion": "v2"}}, "transformer": {"containers": [{"name": "a"}]}}, "v1"),
    ],
)
def test_protocol_of_the_graphs_path(spec: dict[str, Any], found: str) -> None:
    assert protocol(service(**spec)) == found


def test_implementations_are_counted_as_kserve_does() -> None:
    container = {"name": "kserve-container"}

    assert Component(name="predictor", spec={"model": {}}).implementations == 1
    assert Component(name="predictor", spec={"model": {}, "containers": [container]}).implementations == 2
    assert Component(name="predictor", spec={"containers": [{"name": "other"}]}).implementations == 1
    assert Component(name="transformer", spec={}).implementations == 0
