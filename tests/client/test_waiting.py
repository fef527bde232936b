"""Results of threads in order, and conditions that are polled until a deadline."""

import itertools
import threading
import time

import pytest

from shardline.client.waiting import in_order, wait_until


def test_results_come_in_order_from_several_threads() -> None:
    """The first item waits until another thread has done the last one."""
    last = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert last.wait(10)
        if item == 3:
            last.set()
        return item * 10

    assert list(in_order(work, range(4), jobs=2)) == [0, 10, 20, 30]
    assert list(in_order(work, [], jobs=2)) == []


def test_an_exception_is_raised_where_its_result_would_come() -> None:
    results = in_order(lambda item: 1 // item, [1, 0], jobs=1)

    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_the_first_true_value_is_returned() -> None:
    values = iter((0, "", 7))

    assert wait_until(lambda: next(values), 10, interval_s=0.001, growth=2) == 7


def test_a_condition_that_never_holds_ends_in_a_timeout() -> None:
    calls = itertools.count()
    started = time.monotonic()
    with pytest.raises(TimeoutError, match=r"did not hold within 0\.05 s"):
        wait_until(lambda: next(calls) < 0, 0.05, interval_s=0.02)

    assert time.monotonic() - started < 5
    assert next(calls) >= 1


def test_a_timeout_of_zero_checks_once() -> None:
    assert wait_until(lambda: True, 0)
    with pytest.raises(TimeoutError):
        wait_until(lambda: False, 0)
