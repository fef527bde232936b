"""Which task's name in a bundle stands for which function."""

from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from tasks import classify
from wire.errors import BundleError

Reply = Callable[[Mapping[str, NDArray[Any]], classify.Labelled, Mapping[str, object]], list[dict[str, object]]]

TASKS: Mapping[str, Reply] = {"classify": classify.reply}


def task_reply(name: str) -> Reply:
    """The function that turns the last shard's tensors into v1 predictions: (outputs, task, parameters) -> predictions.

    Raises:
        BundleError: a task that this Shardline does not have.
    """
    try:
        return TASKS[name]
    except KeyError as exc:
        raise BundleError(f"the bundle's task is {name!r}; allowed: {', '.join(TASKS)}: build it again") from exc
