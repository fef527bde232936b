"""Which task's name in a bundle stands for which functions."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shardline.tasks import classify, plates, retrieve
from shardline.tasks.plate_text import CLASSES
from shardline.tasks.request import Index, Outputs, Prediction, Request
from shardline.wire.errors import BundleError


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
        open_index: the last stage's folder and the width of its embeddings -> the index there; None where the task
            answers without one.
    """

    reply: Callable[[Request], Sequence[Prediction]]
    answers: Callable[[Outputs], Sequence[Hashable] | None]
    comparable: Callable[[Outputs], Outputs]
    labels: tuple[str, ...] | None = None
    open_index: Callable[[Path, int], Index] | None = None


TASKS: Mapping[str, TaskCode] = {
    "classify": TaskCode(reply=classify.reply, answers=classify.answers, comparable=classify.comparable),
    "plates": TaskCode(reply=plates.reply, answers=plates.answers, comparable=plates.comparable, labels=CLASSES),
    "retrieve": TaskCode(
        reply=retrieve.reply,
        answers=retrieve.answers,
        comparable=retrieve.comparable,
        labels=(),  # those of a reply are the index's
        open_index=retrieve.open_index,
    ),
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
