"""Resources and timeouts follow the plan's numbers."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from shardline.manifests.options import Overrides
from shardline.manifests.sizing import (
    MAX_QUEUE,
    router_compute,
    stage_compute,
    timeouts,
    transformer_compute,
)
from shardline.storage.bundle import Bundle, FileDigest
from shardline.wire.errors import UsageError


def with_times(bundle: Bundle, *times_ms: float) -> Bundle:
    pairs = zip(bundle.stages, times_ms, strict=True)
    return replace(bundle, stages=tuple(replace(stage, model_ms=ms) for stage, ms in pairs))


def test_all_stages_together_request_what_the_whole_would(make_bundle: Callable[..., Bundle]) -> None:
    bundle = with_times(make_bundle(threads=4), 100, 200, 100)
    computes = [stage_compute(bundle, stage) for stage in bundle.stages]

    assert [compute.cpu_request_m for compute in computes] == [1000, 2000, 1000]
    assert [compute.cpu_limit_m for compute in computes] == [4000] * 3


def test_memory_grows_with_the_weights_and_the_limit_lies_above(make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle()
    small = stage_compute(bundle, bundle.stages[1])
    large = stage_compute(bundle, replace(bundle.stages[1], weight_bytes=8 * 1024**3))

    assert large.memory_request_mib > 2 * 8 * 1024 > small.memory_request_mib
    assert small.memory_limit_mib > small.memory_request_mib


def test_an_index_lies_in_the_memory_of_the_stage_that_has_it(make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle()
    files = {
        "stages/2/index.faiss": FileDigest(sha256="0" * 64, size_bytes=2 * 1024**3),
        "stages/2/index.json": FileDigest(sha256="0" * 64, size_bytes=128 * 1024**2),
    }
    indexed = replace(bundle, files={**bundle.files, **files})
    grown = [
        stage_compute(indexed, stage).memory_request_mib - stage_compute(bundle, stage).memory_request_mib
        for stage in bundle.stages
    ]

    assert grown == [0, 0, 2048 + 1024]


def test_resources_are_quantities_as_kubernetes_prints_them(make_bundle: Callable[..., Bundle]) -> None:
    resources = transformer_compute(make_bundle()).to_resources()

    assert resources["requests"]["cpu"] == "250m"
    assert resources["limits"]["cpu"] == "1"
    assert resources["limits"]["memory"].endswith("Mi")


def test_a_request_behind_a_full_queue_has_time(make_bundle: Callable[..., Bundle]) -> None:
    times = timeouts(with_times(make_bundle(), 500, 2000, 500))

    assert times.request_ms > 1000 * 2 * MAX_QUEUE


def test_who_answers_first_when_all_are_late(make_bundle: Callable[..., Bundle]) -> None:
    for slowest_ms in (1, 1000, 100_000):
        times = timeouts(with_times(make_bundle(), 1, slowest_ms, 1))

        assert times.request_ms < 1000 * times.service_client_s
        assert times.server_write_s >= times.server_read_s + times.request_ms / 1000 + times.service_client_s
        assert 30_000 <= times.request_ms <= 600_000


def test_a_stage_without_a_measured_time_gets_its_share(make_bundle: Callable[..., Bundle]) -> None:
    bundle = with_times(make_bundle(threads=3), 0, 0, 0)

    assert [stage_compute(bundle, stage).cpu_request_m for stage in bundle.stages] == [1000] * 3


def test_the_routers_memory_follows_the_frames_that_it_holds(make_bundle: Callable[..., Bundle]) -> None:
    """KServe's router took 189 MB at eight requests of 3 MB."""
    bundle = make_bundle(max_instances=1)
    small = replace(bundle, stages=tuple(replace(stage, output_bytes=10_000) for stage in bundle.stages))
    large = replace(bundle, stages=tuple(replace(stage, output_bytes=3_000_000) for stage in bundle.stages))

    assert router_compute(small).memory_request_mib <= 128
    assert 189 < router_compute(large).memory_request_mib < 2 * 189
    assert router_compute(large).memory_limit_mib > router_compute(large).memory_request_mib


def test_a_users_numbers_win_and_pull_the_others_along(make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle(threads=2)
    compute = stage_compute(bundle, bundle.stages[0])

    assert compute.overridden(Overrides()) == compute
    assert compute.overridden(Overrides(cpu_request_m=100)) == replace(compute, cpu_request_m=100)
    assert compute.overridden(Overrides(cpu_limit_m=500)) == replace(compute, cpu_request_m=500, cpu_limit_m=500)
    above = compute.overridden(Overrides(memory_request_mib=9000))
    assert (above.memory_request_mib, above.memory_limit_mib) == (9000, 9000)
    both = compute.overridden(Overrides(memory_request_mib=1, memory_limit_mib=2))
    assert (both.memory_request_mib, both.memory_limit_mib) == (1, 2)


def test_a_request_above_its_limit_is_refused() -> None:
    with pytest.raises(UsageError, match="the CPU request 300m is above the limit 200m, which Kubernetes refuses"):
        Overrides(cpu_request_m=300, cpu_limit_m=200)
    with pytest.raises(UsageError, match="the memory request 3Mi is above the limit 2Mi"):
        Overrides(memory_request_mib=3, memory_limit_mib=2)
