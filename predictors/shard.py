"""Serve one shard: `python -m shardline.predictors.shard --model_name NAME --model_dir /mnt/models`.

A request is a frame; the shard runs it and answers a frame for the next stage, or v1 JSON if it is the last stage.
Frames that wait while the shard is busy run as one batch next, if `--max_batch_size` allows it and the shard's batches
can be split again.
"""

import asyncio
import json
import logging
import math
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from prometheus_client import Gauge, Histogram

from shardline.partition.compiled import PROGRAMS
from shardline.partition.device import DEVICES, bound_memory, choose_device, is_device, memory_bytes, use_threads
from shardline.partition.lookup import index_of
from shardline.partition.runtime import Golden, LoadedShard, load_shard
from shardline.predictors.batching import RequestSlice
from shardline.predictors.model import FRAME_TYPE, Answer, BytesModel
from shardline.predictors.server import arguments, run_main, serve
from shardline.predictors.worker import Worker, check_deadline
from shardline.tasks.index import Index
from shardline.tasks.registry import task_reply
from shardline.tasks.request import Request, check_count
from shardline.wire.errors import ForeignFrameError, FrameError
from shardline.wire.frame import Frame, decode, encode_parts, is_frame

TIMINGS_PARAMETER = "timings"

# metrics beside KServe's own request histograms, at /metrics of KServe's server
_LABELS = ["model_name"]
BATCH_SIZE = Histogram(
    "shardline_batch_size", "instances that ran as one batch", _LABELS, buckets=[2**power for power in range(9)]
)
QUEUE_SECONDS = Histogram(
    "shardline_queue_seconds",
    "seconds from a frame's arrival to the start of its batch",
    _LABELS,
    buckets=[0.0001, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
)
DEVICE_MEMORY_BYTES = Gauge("shardline_device_memory_bytes", "largest GPU memory that torch has held so far", _LABELS)

Tensors = Mapping[str, np.ndarray]
"""Arrays by tensor name, each with the dtype and shape that the bundle names, the batch in front: [batch, …]."""

logger = logging.getLogger("shardline.predictors.shard")  # the module's own name is __main__ in a pod


class BatchRun(NamedTuple):
    """Outputs of one request (or slice) in a batch, and how long the batch took in milliseconds."""

    outputs: Tensors
    taken_ms: float


class ShardPredictor(BytesModel):
    """KServe model of one stage of the chain."""

    def __init__(
        self,
        name: str,
        folder: Path,
        digest: str | None = None,
        *,
        max_batch: int = 1,
        max_delay_ms: float = 0.0,
        max_queue: int = 32,
        device: str = "auto",
        device_memory_bytes: int | None = None,
        program: str = "auto",
    ) -> None:
        super().__init__(name)
        self._max_batch = max_batch
        self._max_delay_ms = max_delay_ms
        self._max_queue = max_queue
        self._folder = folder
        self._digest = digest
        self._device = device
        self._device_memory_bytes = device_memory_bytes
        self._program = program
        self._shard: LoadedShard
        self._index: Index | None
        self._parts: bool
        self._worker: Worker[Tensors, BatchRun]

    def load(self) -> bool:
        """Check, load and warm up the shard, and open its index if it has one; the model is ready only after that.

        Raises:
            BundleError: see `load_shard` and `index_of`.
            ModelError: see `choose_device` and `bound_memory`.
        """
        use_threads()
        device = choose_device(self._device)
        if self._device_memory_bytes is not None:
            bound_memory(device, self._device_memory_bytes)
        only_batch = 1 if self._max_batch == 1 else None
        self._shard = load_shard(self._folder, self._digest, device, self._program, only_batch=only_batch)
        self._index = index_of(self._folder, self._shard.bundle, self._shard.stage)
        if device.type != "cpu":
            DEVICE_MEMORY_BYTES.labels(self.name).set_function(lambda: memory_bytes(device))
            logger.info("stage %d holds %d bytes of %s", self._shard.stage.index, memory_bytes(device), device)
        self._parts = self._shard.can_split if self._max_batch == 1 else self._joins()
        self._worker = Worker(
            self._compute,
            max_queue=self._max_queue,
            max_batch=self._max_batch if self._parts else 1,
            max_delay_s=self._max_delay_ms / 1000 if self._parts else 0.0,
            initializer=use_threads,
        )
        self.ready = True
        return self.ready

    def _joins(self) -> bool:
        joins = self._shard.can_join(Golden.load(self._folder))
        if not joins:
            logger.warning("stage %d runs one request at a time: its batches cannot be split", self._shard.stage.index)
        return joins

    async def answer(self, body: bytes | memoryview, headers: Mapping[str, str]) -> Answer:  # noqa: ARG002  # a frame carries all
        if not is_frame(body):
            raise FrameError(
                f"stage {self._shard.stage.index} takes frames, not pictures or JSON: send those to the transformer of "
                "stage 0 or to the graph"
            )
        frame = decode(body)
        self._check_owner(frame)
        check_deadline(frame.deadline_ms)
        self._shard.check(frame.tensors)
        size = self._shard.instances(frame.tensors) if self._parts else 1
        runs = await self._worker.run(frame.tensors, size, frame.deadline_ms)
        if not self._shard.is_last and len(runs) == 1:
            return self._finish(frame, runs)  # copies nothing
        # in another thread, since the next batch runs already
        return await asyncio.to_thread(self._finish, frame, runs)

    def _check_owner(self, frame: Frame) -> None:
        if frame.bundle != self._shard.digest:
            raise ForeignFrameError(
                f"the frame belongs to bundle {frame.bundle[:80]}, this stage serves {self._shard.digest}: a rollout "
                "is half done, or manifests of two bundles are mixed; apply one bundle's manifests and send again"
            )
        if frame.stage != self._shard.stage.index:
            raise ForeignFrameError(
                f"the frame is for stage {frame.stage}, this is stage {self._shard.stage.index}: "
                "check the order of the graph's steps"
            )

    def _compute(self, batch: Sequence[RequestSlice[Tensors, BatchRun]]) -> list[BatchRun]:
        """Run one batch, in the worker's thread."""
        start_s = time.monotonic()
        frames = [self._tensors(part) for part in batch]
        outputs = self._shard.run_joined(frames)
        taken_ms = (time.monotonic() - start_s) * 1000
        BATCH_SIZE.labels(self.name).observe(sum(self._shard.instances(frame) for frame in frames))
        for part in batch:
            if part.start == 0:
                QUEUE_SECONDS.labels(self.name).observe(start_s - part.request.arrived_s)
        return [BatchRun(tensors, taken_ms) for tensors in outputs]

    def _tensors(self, part: RequestSlice[Tensors, BatchRun]) -> Tensors:
        return self._shard.split(part.item, part.start, part.stop) if self._parts else part.item

    def _finish(self, frame: Frame, runs: Sequence[BatchRun]) -> Answer:
        outputs = self._shard.concatenate([run.outputs for run in runs])
        timings = {**frame.timings, str(frame.stage): round(sum(run.taken_ms for run in runs), 3)}
        if self._shard.is_last:
            pictures = len(frame.views) or self._shard.instances(frame.tensors)
            return self._reply(replace(frame, tensors=outputs, timings=timings), pictures)
        passed_on = replace(frame, tensors=outputs, stage=frame.stage + 1, timings=timings)
        return Answer(tuple(encode_parts(passed_on)), FRAME_TYPE)

    def _reply(self, frame: Frame, pictures: int) -> Answer:
        task, picture = self._shard.bundle.task, self._shard.bundle.picture
        parameters = dict(frame.parameters)
        with_timings = parameters.pop(TIMINGS_PARAMETER, False)
        request = Request(
            outputs=frame.tensors,
            labels=task.labels,
            options=task.options,
            parameters=parameters,
            views=frame.views,
            input_size=(picture.height, picture.width),
            index=self._index,
        )
        predictions = task_reply(task.name)(request)
        check_count(predictions, pictures)
        reply = self._shard.bundle.reply(predictions)
        if with_timings:
            reply["timings"] = frame.timings
        return Answer((json.dumps(reply, allow_nan=False).encode(),))


def parse() -> Namespace:
    parser = arguments("Serve one shard of a bundle with KServe.")
    add = parser.add_argument
    add("--model_dir", type=Path, required=True, help="folder of the stage, as the storage initializer downloaded it")
    add("--max_batch_size", type=int, default=1, help="most instances in one batch (default: %(default)s)")
    delay_help = "milliseconds that an idle shard waits for more requests; 0: batch only waiting ones (default: 0)"
    add("--max_batch_delay_ms", type=float, default=0, help=delay_help)
    add("--device", default="auto", help=f"{DEVICES}; auto takes the GPU if there is one (default: auto)")
    add("--device_memory_bytes", type=int, help="limit of the GPU memory in bytes (default: none)")
    program_help = "auto takes the compiled program if it is for this machine, else the portable one (default: auto)"
    add("--program", choices=PROGRAMS, default="auto", help=program_help)
    parsed = parser.parse_args()
    if parsed.max_batch_size < 1 or parsed.max_queue < 0 or not 0 <= parsed.max_batch_delay_ms < math.inf:
        parser.error("--max_batch_size must be at least 1, --max_queue and --max_batch_delay_ms at least 0")
    if not is_device(parsed.device):
        parser.error(f"--device {parsed.device!r}: allowed are {DEVICES}")
    return parsed


def _log_to_stderr() -> None:
    """Show Shardline's log, which reports the program that is loaded and why: KServe shows only its own loggers."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s: %(message)s"))
    shardline = logging.getLogger("shardline")
    shardline.setLevel(logging.INFO)
    shardline.addHandler(handler)


def main() -> None:
    arguments = parse()
    _log_to_stderr()
    model = ShardPredictor(
        arguments.model_name,
        arguments.model_dir,
        arguments.bundle_digest,
        max_batch=arguments.max_batch_size,
        max_delay_ms=arguments.max_batch_delay_ms,
        max_queue=arguments.max_queue,
        device=arguments.device,
        device_memory_bytes=arguments.device_memory_bytes,
        program=arguments.program,
    )
    model.load()
    serve(model, arguments)


if __name__ == "__main__":
    run_main(main)
