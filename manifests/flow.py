"""One request's way through a graph: cmd/router/main.go routeStep, node by node."""

import asyncio
import secrets
from contextlib import suppress
from typing import Any

from shardline.manifests.conditions import parse_body
from shardline.manifests.gojson import decode_object, encode, map_predictions
from shardline.manifests.graph import Node, Step
from shardline.manifests.headers import Headers
from shardline.manifests.transport import Answer, Client, StepError


class Flow:
    """Each method takes a node's or step's input, and the client's headers, which every step gets."""

    def __init__(self, root: Node, client: Client) -> None:
        self._root = root
        self._client = client
        self._started: set[asyncio.Task[Any]] = set()  # an Ensemble's steps, whether or not anyone waits for them

    async def run(self, body: bytes, headers: Headers) -> Answer:
        """
        Raises:
            StepError: a step gave no answer, or the root leads no further.
        """
        return await self._node(self._root, body, headers)

    async def _node(self, node: Node, body: bytes, headers: Headers) -> Answer:
        match node.kind:
            case "Sequence":
                return await self._sequence(node, body, headers)
            case "Splitter":
                return await self._step(_split(node), body, headers)
            case "Switch":
                return await self._step(_switch(node, body), body, headers)
            case "Ensemble":
                return await self._ensemble(node, body, headers)

    async def _step(self, step: Step, body: bytes, headers: Headers) -> Answer:
        if isinstance(step.target, str):
            return await self._client.post(step.target, body, headers)
        try:
            return await self._node(step.target, body, headers)
        except StepError as exc:
            raise StepError(str(exc)) from exc  # a Switch's 404 is the client's only at the root

    async def _sequence(self, node: Node, body: bytes, headers: Headers) -> Answer:
        """A failed soft step's answer goes on to the next step like any other."""
        answer = Answer(status=200, body=b"")
        for step in node.steps:
            if not _condition_met(step, answer.body):
                return Answer(status=200, body=answer.body)  # whatever the step before said
            chosen = answer.body if step.use_response else body
            answer = await self._step(step, map_predictions(chosen) if step.map_predictions else chosen, headers)
            if step.hard and not answer.ok:
                break
        return answer

    async def _ensemble(self, node: Node, body: bytes, headers: Headers) -> Answer:
        """All steps at once. Their objects are taken in the steps' order; an error is heard as soon as it happens."""
        tasks = [self._start(step, body, headers) for step in node.steps]
        merged = {}
        for index, (step, task) in enumerate(zip(node.steps, tasks, strict=True)):
            await _done_or_any_failed(task, tasks)
            answer, document = task.result()
            if step.hard and not answer.ok:
                return Answer(status=answer.status, body=encode(document))
            merged[step.name or str(index)] = document
        return Answer(status=200, body=encode(merged))

    def _start(self, step: Step, body: bytes, headers: Headers) -> "asyncio.Task[tuple[Answer, Any]]":
        """As in KServe nobody stops the other steps when one has decided the answer."""
        task = asyncio.create_task(self._object(step, body, headers))
        self._started.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        self._started.discard(task)
        if not task.cancelled():
            task.exception()  # heard, if only here

    async def _object(self, step: Step, body: bytes, headers: Headers) -> tuple[Answer, Any]:
        answer = await self._step(step, body, headers)
        try:
            return answer, decode_object(answer.body)
        except ValueError as exc:
            raise StepError(str(exc)) from exc


async def _done_or_any_failed(task: "asyncio.Task[Any]", tasks: "list[asyncio.Task[Any]]") -> None:
    """
    Raises:
        StepError: what the first of `tasks` to fail says.
    """
    while not task.done():
        pending = [each for each in tasks if not each.done()]
        done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for each in done:
            each.result()


def _split(node: Node) -> Step:
    point = secrets.randbelow(100)
    for step in node.steps:
        point -= step.weight
        if point < 0:
            return step
    raise StepError("no route was selected by the splitter")


def _switch(node: Node, body: bytes) -> Step:
    with suppress(ValueError):  # a body that is not JSON meets no condition
        document = parse_body(body)
        for step in node.steps:
            if step.condition is not None and step.condition.holds(document):
                return step
    raise StepError("None of the routes matched with the switch condition", status=404)


def _condition_met(step: Step, answer: bytes) -> bool:
    try:
        return step.condition is None or step.condition.holds(parse_body(answer))
    except ValueError as exc:
        raise StepError("invalid response") from exc
