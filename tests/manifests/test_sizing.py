"""Resources and timeouts follow the plan's numbers."""

from collections.abc import Callable
from dataclasses import replace

from manifests.sizing import MAX_QUEUE, stage_compute, timeouts, transformer_compute
from storage.bundle import Bundle


def with_times(bundle: Bundle, *times_ms: float) -> Bundle:
    pairs = zip(bundle.stages, times_ms, strict=True)
    return replace(bundle, stages=tuple(replace(stage, model_ms=ms) for stage, ms in pairs))


def test_all_stages_together_request_what_the_whole_would(make_bundle: Callable[..., Bundle]) -> None:
    bundle = with_times(make_bundle(threads=4), 100, 200, 100)
    computes = [stage_compute(bundle, stage) for stage in bundle.stages]

    assert [each.cpu_request_m for each in computes] == [1000, 2000, 1000]
    assert [each.cpu_limit_m for each in computes] == [4000] * 3


def test_memory_grows_with_the_weights_and_the_limit_lies_above(make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle()
    small = stage_compute(bundle, bundle.stages[1])
    large = stage_compute(bundle, replace(bundle.stages[1], weight_bytes=8 * 1024**3))

    assert large.memory_request_mib > 2 * 8 * 1024 > small.memory_request_mib
    assert small.memory_limit_mib > small.memory_request_mib


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
