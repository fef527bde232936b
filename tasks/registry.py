"""Which task's name in a bundle stands for which functions."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

from tasks import classify, plates
from tasks.plate_text import CLASSES
from tasks.request import Outputs, Prediction, Request
from wire.errors import BundleError


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCode:
    """What a task makes of the last shard's tensors.

    Attributes:
        reply: the v1 predictions, one an instance.
        answers: what a user would call the answer of each instance, to count where two models agree; None where the
            outputs are none of this task's.
        comparable: the outputs as values that move little where the model's own move little, so that rounding can be
            told from a mistake: a list that is sorted by score is not such a value, for two neighbours may change
            places.
        labels: the only ones that its models have, in their order; None where they are the model's own.
    """

    reply: Callable[[Request], Sequence[Prediction]]
    answers: Callable[[Outputs], Sequence[Hashable] | None]
    comparable: Callable[[Outputs], Outputs]
    labels: tuple[str, ...] | None = None


TASKS: Mapping[str, TaskCode] = {
    "classify": TaskCode(reply=classify.reply, answers=classify.answers, comparable=classify.comparable),
    "plates": TaskCode(reply=plates.reply, answers=plates.answers, comparable=plates.comparable, labels=CLASSES),
}


def task_code(name: str) -> TaskCode:
    """
    Raises:
        BundleError: a task that this Shardline does not have.
    """
    try:
        return TASKS[name]
    except KeyError as exc:
        raise BundleError(f"the bundle's task is {name!r}; allowed: {', '.join(TASKS)}: build it again") from exc


def task_reply(name: str) -> Callable[[Request], Sequence[Prediction]]:
    """The function that turns the last shard's tensors into v1 predictions.

    Raises:
        BundleError: as `task_code`.
    """
    return task_code(name).reply
