"""Registry of tasks: the task's name in a bundle -> its functions.

A task's module is loaded when a bundle first asks for it.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from shardline.tasks.index import Index
from shardline.tasks.request import Options, Outputs, Prediction, Request, Shape, matrix_classes, refuse_options
from shardline.wire.errors import BundleError

TaskName = Literal["classify", "detect", "plates", "raw", "retrieve", "segment"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCode:
    """Functions of one task.

    Attributes:
        reply: builds the v1 predictions, one for each instance.
        answers: gives each instance's answer as a user would name it, from the outputs and the task's options, to
            count where two models agree; None if the outputs are not this task's.
        agreement: the field's words for the share of pictures with equal answers.
        plural: the word for several answers.
        comparable: turns the outputs, given the task's options, into values that change little where the model's own
            outputs change little, so that rounding can be distinguished from a mistake. A list that is sorted by score
            is not such a value, since two neighbours may change places.
        classes: gives the number of classes by the shapes of the outputs and the task's options; None if they do not
            say it.
        labels: gives the only class labels that a model with these options has, in their order; None where each model
            has its own.
        check_options: checks the options that a bundle gives its task; raises BundleError.
        open_index: opens the index in the last stage's folder, given the width of the embeddings; None where the task
            needs none.
    """

    reply: Callable[[Request], Sequence[Prediction]]
    answers: Callable[[Outputs, Options], Sequence[Hashable] | None]
    agreement: str
    plural: str
    comparable: Callable[[Outputs, Options], Outputs]
    classes: Callable[[Sequence[Shape], Options], int | None] = matrix_classes
    labels: Callable[[Options], tuple[str, ...]] | None = None
    check_options: Callable[[Options], None] = refuse_options
    open_index: Callable[[Path, int], Index] | None = None


def task_code(name: str) -> TaskCode:
    """Functions of the task with this name.

    Raises:
        BundleError: a task that this Shardline does not have.
    """
    try:
        load = TASKS[name]
    except KeyError as exc:
        raise BundleError(f"the bundle's task is {name!r}; allowed: {', '.join(TASKS)}: build it again") from exc
    return load()


def task_reply(name: str) -> Callable[[Request], Sequence[Prediction]]:
    """The function that builds v1 predictions from the last shard's outputs.

    Raises:
        BundleError: as `task_code`.
    """
    return task_code(name).reply


@cache
def _classify() -> TaskCode:
    from shardline.tasks import classify

    return TaskCode(
        reply=classify.reply,
        answers=classify.answers,
        agreement="top-1 agreement",
        plural="classes",
        comparable=classify.comparable,
        check_options=classify.check_options,
    )


@cache
def _detect() -> TaskCode:
    from shardline.tasks import detect

    return TaskCode(
        reply=detect.reply,
        answers=detect.answers,
        agreement="share of pictures with the same classes found",
        plural="sets of objects",
        comparable=detect.comparable,
        classes=detect.class_count,
        check_options=detect.check_options,
    )


@cache
def _plates() -> TaskCode:
    from shardline.tasks.plates import detections, grammar, task

    return TaskCode(
        reply=task.reply,
        answers=task.answers,
        agreement="share of pictures with the same plates read",
        plural="readings",
        comparable=detections.comparable,
        labels=lambda options: grammar.option_grammar(options).classes,
        check_options=grammar.check_options,
    )


@cache
def _retrieve() -> TaskCode:
    from shardline.tasks import retrieve
    from shardline.tasks.faiss_index import open_index

    return TaskCode(
        reply=retrieve.reply,
        answers=retrieve.answers,
        agreement="share of pictures with the same answer",
        plural="answers",
        comparable=retrieve.comparable,
        labels=lambda _: (),  # the labels in a reply are the index's
        open_index=open_index,
    )


@cache
def _raw() -> TaskCode:
    from shardline.tasks import raw

    return TaskCode(
        reply=raw.reply,
        answers=raw.answers,
        agreement="share of pictures with the same answer",
        plural="answers",
        comparable=raw.comparable,
        labels=lambda _: (),  # numbers have no classes
    )


@cache
def _segment() -> TaskCode:
    from shardline.tasks import segment

    return TaskCode(
        reply=segment.reply,
        answers=segment.answers,
        agreement="share of pictures with the same classes on at least 5 % of the pixels",
        plural="sets of classes",
        comparable=segment.comparable,
        classes=segment.class_count,
        check_options=segment.check_options,
    )


TASKS: Mapping[str, Callable[[], TaskCode]] = {
    "classify": _classify,
    "detect": _detect,
    "plates": _plates,
    "raw": _raw,
    "retrieve": _retrieve,
    "segment": _segment,
}
