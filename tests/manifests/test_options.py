"""The options of `render`, and combinations that are refused."""

import pytest

from shardline.manifests.options import CPU_IMAGE, IMAGE, Overrides, RenderOptions, parse_overrides
from shardline.manifests.placement import Placement
from shardline.wire.errors import UsageError


def test_a_quantity_is_for_all_parts_or_for_one() -> None:
    parsed = parse_overrides(cpu_requests=["router=50m", "100m"], memory_limits=["stages=3Gi"])

    assert parsed == {
        "stages": Overrides(cpu_request_m=100, memory_limit_mib=3072),
        "transformer": Overrides(cpu_request_m=100),
        "router": Overrides(cpu_request_m=50),
    }


def test_a_part_that_no_chain_has() -> None:
    with pytest.raises(UsageError, match="the parts of a chain are stages, transformer, router"):
        parse_overrides(cpu_limits=["stage0=1"])


def test_the_image_follows_the_device() -> None:
    placement = Placement(gpu_resource="nvidia.com/gpu")

    assert RenderOptions(storage="gs://b/m").stage_image == CPU_IMAGE
    assert RenderOptions(storage="gs://b/m", placement=placement).stage_image == IMAGE
    assert RenderOptions(storage="gs://b/m", placement=placement, image="mine/shard:1").stage_image == "mine/shard:1"


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("gs:///a", "no name of a bucket"),
        ("gs://Upper/a", "no name of a bucket"),
        ("s3://-b/a", "no name of a bucket"),
        ("gs://b/a#c", "spaces, '\\?', '#'"),
        ("gs://b/a?c", "spaces, '\\?', '#'"),
        ("gs://b/../a", "spaces, '\\?', '#'"),
        ("gs://b/a b", "spaces, '\\?', '#'"),
        ("https://example.com/models", "fetches no folder over https://"),
        ("https://example.com/a.tar.gz", "fetches no folder over https://"),
        ("hf://org/model", "fetches no folder over hf://"),
        ("oci://registry/image", "fetches no folder over oci://"),
        ("pvc:///a", "no name of a PersistentVolumeClaim"),
        ("file://relative/a", "three slashes"),
        ("gs://", "not a URI that KServe supports"),
        ("ftp://host/a", "not a URI that KServe supports"),
        ("bundles/a", "not a URI that KServe supports"),
    ],
)
def test_a_storage_that_no_pod_can_fetch_from(uri: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        RenderOptions(storage=uri)


@pytest.mark.parametrize(
    "uri",
    [
        "gs://bucket/models",
        "gs://b",
        "s3://bucket.example/a/b",
        "pvc://claim",
        "file:///a%20b",
        "hdfs://host/a",
        "https://account.blob.core.windows.net/container/a",
    ],
)
def test_a_storage_that_pods_fetch_from(uri: str) -> None:
    assert RenderOptions(storage=uri).storage == uri
