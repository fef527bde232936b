"""Jobs that alternate while they are timed."""

from benchmarks.codec import interleaved_ms


def test_jobs_alternate() -> None:
    order: list[str] = []
    times = interleaved_ms({"a_ms": lambda: order.append("a"), "b_ms": lambda: order.append("b")}, turns=3)

    assert order == ["a", "b"] * 3
    assert times.keys() == {"a_ms", "b_ms"}
    assert all(time_ms >= 0 for time_ms in times.values())
