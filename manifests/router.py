"""A stand-in for KServe's InferenceGraph router, for machines without its Go binary.

    python -m shardline.manifests.router --port 8080 \\
        --graph-json '{"nodes": {"root": {"routerType": "Sequence", "steps": […]}}}'

It follows KServe v0.20 (cmd/router/main.go), errors and oddities included, since a chain must not behave better here
than in the cluster: any path and method but /readyz runs the graph, every step is called with POST, only headers that
match PROPAGATE_HEADERS are passed on, bodies pass byte for byte, a client that disconnects does not stop the steps, and
a response that is later than serverWrite ends in a closed connection without a status. The cases in tests/conformance/
hold all of this, and run against KServe's binary as well; docs/conformance.md lists them.

Not implemented: conditions beyond those of conditions.py (refused at the start), the detection of an Istio sidecar, and
all but the most common Content-Types that Go guesses for a reply that is not JSON.
"""

import argparse
import asyncio
import logging
import os
import re
import secrets
import signal
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import uvloop
from aiohttp import web

from shardline.manifests.conditions import parse_body
from shardline.manifests.gojson import decode_object, encode, is_json, map_predictions
from shardline.manifests.graph import Graph, Node, Step, parse_graph
from shardline.manifests.transport import (
    Headers,
    StepClient,
    StepError,
    StepResponse,
    compile_patterns,
    propagated,
)
from shardline.wire.errors import ManifestError
from shardline.wire.limits import HELD_BYTES, MIB, format_bytes

DRAIN_S = 30.0  # cmd/router/main.go drainSleepDuration
_READ_BYTES = MIB // 4  # of a request's body that wait to be read, in each connection; twice as many at the most
_TURN_BYTES = 4 * MIB  # of all bodies, in one turn of the event loop
_TURN_BODIES = 8  # that read on in the next one
_HEADER_BYTES = MIB  # Go's DefaultMaxHeaderBytes
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")


class Flow:
    """Run requests through a graph, node by node (cmd/router/main.go routeStep).

    Methods take the input of a node or step, and the client's headers, which every step gets.
    """

    def __init__(self, root: Node, client: StepClient) -> None:
        self._root = root
        self._client = client
        self._started: set[asyncio.Task[Any]] = set()  # an Ensemble's steps, kept from garbage collection

    async def run(self, body: bytes, headers: Headers) -> StepResponse:
        """Run one request.

        Raises:
            StepError: a step did not respond, or no step was selected.
        """
        return await self._node(self._root, body, headers)

    async def _node(self, node: Node, body: bytes, headers: Headers) -> StepResponse:
        match node.kind:
            case "Sequence":
                return await self._sequence(node, body, headers)
            case "Splitter":
                return await self._step(_split(node), body, headers)
            case "Switch":
                return await self._step(_switch(node, body), body, headers)
            case "Ensemble":
                return await self._ensemble(node, body, headers)

    async def _step(self, step: Step, body: bytes, headers: Headers) -> StepResponse:
        if isinstance(step.target, str):
            return await self._client.post(step.target, body, headers)
        try:
            return await self._node(step.target, body, headers)
        except StepError as exc:
            raise StepError(str(exc)) from exc  # a Switch's 404 reaches the client only from the root

    async def _sequence(self, node: Node, body: bytes, headers: Headers) -> StepResponse:
        """Run the steps in order; the error of a Soft step is passed on like any other response."""
        answer = StepResponse(status=200, body=b"")
        for step in node.steps:
            if not _condition_met(step, answer.body):
                return StepResponse(status=200, body=answer.body)  # whatever the previous status was
            chosen = answer.body if step.use_response else body
            answer = await self._step(step, map_predictions(chosen) if step.map_predictions else chosen, headers)
            if step.hard and not answer.ok:
                break
        return answer

    async def _ensemble(self, node: Node, body: bytes, headers: Headers) -> StepResponse:
        """Run all steps at once and merge their objects in the steps' order; the first error ends the node."""
        tasks = [self._start(step, body, headers) for step in node.steps]
        merged = {}
        for index, (step, task) in enumerate(zip(node.steps, tasks, strict=True)):
            await _done_or_any_failed(task, tasks)
            answer, document = task.result()
            if step.hard and not answer.ok:
                return StepResponse(status=answer.status, body=encode(document))
            merged[step.name or str(index)] = document
        return StepResponse(status=200, body=encode(merged))

    def _start(self, step: Step, body: bytes, headers: Headers) -> "asyncio.Task[tuple[StepResponse, Any]]":
        """Start a step, which runs to its end even if another step decides the response, as in KServe."""
        task = asyncio.create_task(self._object(step, body, headers))
        self._started.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        self._started.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved, so that asyncio does not log it

    async def _object(self, step: Step, body: bytes, headers: Headers) -> tuple[StepResponse, Any]:
        answer = await self._step(step, body, headers)
        try:
            return answer, decode_object(answer.body)
        except ValueError as exc:
            raise StepError(str(exc)) from exc


async def _done_or_any_failed(task: "asyncio.Task[Any]", tasks: "list[asyncio.Task[Any]]") -> None:
    """Wait until `task` is done.

    Raises:
        StepError: the error of the first of `tasks` to fail meanwhile.
    """
    while not task.done():
        pending = [other for other in tasks if not other.done()]
        done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for finished in done:
            finished.result()


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


class Router:
    """HTTP handlers of one graph; `draining` changes /readyz only."""

    def __init__(self, graph: Graph, client: StepClient, patterns: Sequence[re.Pattern[str]]) -> None:
        self._flow = Flow(graph.root, client)
        self._timeouts = graph.timeouts
        self._patterns = patterns
        self._bodies = HeldBodies(HELD_BYTES)
        self.draining = False

    async def ready(self, request: web.Request) -> web.Response:  # noqa: ARG002 aiohttp's signature
        return web.Response(status=503, text="shutting down\n") if self.draining else web.Response()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Run a request. Go's WriteTimeout starts after the headers and is checked when the response is written."""
        write_s = self._timeouts.server_write_s
        late_at = None if write_s is None else asyncio.get_running_loop().time() + write_s
        async with self._bodies.read(request, self._timeouts.server_read_s) as body:
            response = await self._answer(body, propagated(request.raw_headers, self._patterns))
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout_at(late_at):
                await asyncio.sleep(0)  # a deadline that has passed takes effect here, before the status is sent
                await response.prepare(request)
                await response.write_eof()
                return response
        if request.transport is not None:
            request.transport.close()
        return response

    async def _answer(self, body: bytes, headers: Headers) -> web.Response:
        try:
            answer = await self._flow.run(body, headers)
            status, reply = answer.status, answer.body
        except StepError as exc:
            status, reply = exc.status, encode({"error": "Failed to process request", "cause": str(exc)})
        return web.Response(status=status, body=reply, headers=_content_type(reply))


@dataclass(slots=True, eq=False)
class _Receiving:
    """A body while it is received."""

    task: "asyncio.Task[Any] | None"
    parts: list[bytes] = field(default_factory=list)
    size_bytes: int = 0
    gave_way: bool = False


class HeldBodies:
    """Bodies of all requests in memory. Over the bound, the incomplete one that is silent for the longest gives way.

    KServe's router has no such bound: there the pod's memory limit ends it. Here one client that sends bodies and never
    ends them would take the memory of the whole machine.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._held_bytes = 0
        self._by_silence: dict[_Receiving, None] = {}  # a dict keeps the order of insertion
        self._turn_bytes = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def read(self, request: web.Request, timeout_s: float | None) -> AsyncIterator[bytes]:
        """Read a body and hold it until the end of the block.

        Raises:
            HTTPServiceUnavailable: it gave way to others.
        """
        body = _Receiving(asyncio.current_task())
        try:
            self._by_silence[body] = None
            try:
                await self._receive(body, request, timeout_s)
            except asyncio.CancelledError:
                if not body.gave_way or body.task is None:
                    raise
                body.task.uncancel()
            finally:
                self._by_silence.pop(body, None)
            if body.gave_way:
                raise self._refusal()
            yield body.parts[0] if len(body.parts) == 1 else b"".join(body.parts)
        finally:
            self._held_bytes -= body.size_bytes

    async def _receive(self, body: _Receiving, request: web.Request, timeout_s: float | None) -> None:
        """Read all of it. Go ignores errors here, so after a timeout the steps get the part that was received."""
        with suppress(TimeoutError, ConnectionError, web.RequestPayloadError):
            async with asyncio.timeout(timeout_s):
                async for part in request.content.iter_any():
                    self._by_silence[body] = self._by_silence.pop(body)
                    body.parts.append(part)
                    body.size_bytes += len(part)
                    self._held_bytes += len(part)
                    while self._held_bytes > self._limit_bytes:
                        silent = next(iter(self._by_silence))
                        self._give_way(silent)
                        if silent is body:
                            return
                    await self._turn(len(part))

    async def _turn(self, size_bytes: int) -> None:
        """Count received bytes; when a turn of the event loop has had its bytes, wait for a later one.

        So a hundred clients that send as fast as they can do not keep others waiting.
        """
        loop = asyncio.get_running_loop()
        if not self._turn_bytes:
            loop.call_soon(self._next_turn)
        self._turn_bytes += size_bytes
        if self._turn_bytes > _TURN_BYTES:
            self._waiting.append(loop.create_future())
            await self._waiting[-1]

    def _next_turn(self) -> None:
        self._turn_bytes = 0
        for _ in range(min(len(self._waiting), _TURN_BODIES)):
            waiting = self._waiting.popleft()
            if not waiting.done():  # its request ended meanwhile
                waiting.set_result(None)
        if self._waiting:
            self._turn_bytes = 1
            asyncio.get_running_loop().call_soon(self._next_turn)

    def _give_way(self, body: _Receiving) -> None:
        self._held_bytes -= body.size_bytes
        body.parts, body.size_bytes, body.gave_way = [], 0, True
        del self._by_silence[body]
        if body.task is not None and body.task is not asyncio.current_task():
            body.task.cancel()

    def _refusal(self) -> web.HTTPServiceUnavailable:
        text = f"the router holds {format_bytes(self._limit_bytes)} of bodies, the most that it may: send it again"
        reply = web.HTTPServiceUnavailable(
            body=encode({"error": text}), content_type="application/json", headers={"Retry-After": "1"}
        )
        reply.force_close()
        return reply


def _content_type(body: bytes) -> dict[str, str]:
    """Guess the Content-Type in the manner of Go's http.DetectContentType."""
    if not body:
        return {}
    if is_json(body):
        return {"Content-Type": "application/json"}
    binary = _CONTROL.search(body[:512])
    return {"Content-Type": "application/octet-stream" if binary else "text/plain; charset=utf-8"}


async def serve(
    graph: Graph, *, port: int, fd: int | None = None, patterns: Sequence[re.Pattern[str]], drain_s: float
) -> None:
    """Serve until SIGTERM or SIGINT; then fail /readyz, serve for `drain_s` more seconds, and finish running requests.

    `fd` is the descriptor of a listening socket; without one the port is opened.

    Raises:
        ManifestError: the port is taken.
    """
    async with StepClient(graph.timeouts.service_client_s) as client:
        router = Router(graph, client, patterns)
        runner = _runner(router, graph)
        await runner.setup()
        try:
            await (_open(runner, port) if fd is None else web.SockSite(runner, socket.socket(fileno=fd)).start())
            await _stop_signal()
            router.draining = True
            await asyncio.sleep(drain_s)
        finally:
            await runner.cleanup()


async def _open(runner: web.AppRunner, port: int) -> None:
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
    except OSError as exc:
        raise ManifestError(
            f"port {port} cannot be opened ({os.strerror(exc.errno or 0)}): choose another --port"
        ) from exc


def _runner(router: Router, graph: Graph) -> web.AppRunner:
    app = web.Application(client_max_size=0)
    app.router.add_route("*", "/readyz", router.ready)
    app.router.add_route("*", "/{path:.*}", router.handle)
    idle_s = graph.timeouts.server_idle_s or graph.timeouts.server_read_s
    return web.AppRunner(
        app,
        access_log=None,
        auto_decompress=False,
        keepalive_timeout=365 * 86400 if idle_s is None else idle_s,
        max_line_size=_HEADER_BYTES,
        max_field_size=_HEADER_BYTES,
        read_bufsize=_READ_BYTES,
        shutdown_timeout=365 * 86400,  # Go's Shutdown(context.Background()) waits for every request
    )


async def _stop_signal() -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()


def make_parser() -> argparse.ArgumentParser:
    """Declare the command line."""
    parser = argparse.ArgumentParser(
        prog="shardline.manifests.router", description="A stand-in for KServe's graph router."
    )
    parser.add_argument("--graph-json", required=True, help="an InferenceGraph's spec with serviceUrl set in each step")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--fd", type=int, help="descriptor of a listening socket to use in place of --port")
    parser.add_argument("--drain-seconds", type=float, default=DRAIN_S, help="seconds of serving after SIGTERM")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the router until it is stopped; returns the exit code."""
    options = make_parser().parse_args(arguments)
    logging.basicConfig(format="%(message)s")
    try:
        graph = parse_graph(options.graph_json)
        patterns = compile_patterns(os.environ.get("PROPAGATE_HEADERS"))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(graph, port=options.port, fd=options.fd, patterns=patterns, drain_s=options.drain_seconds))
    except ManifestError as exc:
        print(exc, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
