"""Round trips over a bare socket."""

from benchmarks.stage_overhead import loopback_ms


def test_a_round_trip_takes_time_and_more_with_more_bytes() -> None:
    assert 0 < loopback_ms(b"x" * 100) < loopback_ms(b"x" * 4_000_000)
