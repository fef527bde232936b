"""Wait for a cluster: ask again until nothing is missing any more, and say what is."""

import time
from collections.abc import Callable

from shardline.wire.errors import ClusterDownError, ClusterError

_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0
_GROWTH = 1.5


def wait_until(missing: Callable[[], str], what: str, *, timeout_s: float, say: Callable[[str], None]) -> None:
    """Ask `missing` until it gives "", telling `say` each new answer. An API server that is away for a while is asked
    again.

    Raises:
        ClusterError: after `timeout_s`, with `what` was waited for and the last answer.
    """
    give_up_at = time.monotonic() + timeout_s
    pause_s, told = _FIRST_PAUSE_S, ""
    while answer := _ask(missing):
        if answer != told:
            told = answer
            say(f"waiting for {what}: {answer}")
        if time.monotonic() + pause_s > give_up_at:
            raise ClusterError(f"after {timeout_s:g} s, still waiting for {what}: {answer}")
        time.sleep(pause_s)
        pause_s = min(_LONGEST_PAUSE_S, pause_s * _GROWTH)


def _ask(missing: Callable[[], str]) -> str:
    try:
        return missing()
    except ClusterDownError as exc:
        return str(exc)
