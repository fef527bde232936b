"""Serve one shard: `python -m predictors.shard --model_name NAME --model_dir /mnt/models`.

A frame comes in, the shard runs, a frame for the next stage goes out; the last stage answers v1 JSON.
"""

import json
import os
import time
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from partition.device import DEVICES, choose_device
from partition.runtime import LoadedShard, load_shard, use_threads
from predictors.server import FRAME_TYPE, JSON_TYPE, Answer, BytesModel, arguments, run_main, serve
from predictors.worker import Worker, check_deadline
from tasks.registry import task_reply
from wire.errors import ForeignFrameError, FrameError
from wire.frame import Frame, decode, encode, is_frame

TIMINGS_PARAMETER = "timings"


class ShardPredictor(BytesModel):
    """One stage of the chain."""

    def __init__(
        self,
        name: str,
        folder: Path,
        digest: str | None = None,
        *,
        max_batch: int = 1,
        max_queue: int = 32,
        device: str = "auto",
    ) -> None:
        super().__init__(name)
        self._max_batch = max_batch
        self._folder = folder
        self._digest = digest
        self._device = device
        self._worker = Worker(threads=1, max_queue=max_queue, initializer=use_threads)
        self._shard: LoadedShard

    def load(self) -> bool:
        """Check, load and warm up the shard; ready only after that.

        Raises:
            BundleError: see `load_shard`.
            ModelError: see `choose_device`.
        """
        use_threads()
        self._shard = load_shard(self._folder, self._digest, choose_device(self._device))
        self.ready = True
        return self.ready

    async def answer(self, body: bytes, headers: Mapping[str, str]) -> Answer:  # noqa: ARG002  # a frame carries all
        if not is_frame(body):
            raise FrameError(
                f"stage {self._shard.stage.index} takes frames, not pictures or JSON: send those to the transformer of "
                "stage 0 or to the graph"
            )
        frame = decode(body)
        self._check_owner(frame)
        check_deadline(frame.deadline_ms)
        return await self._worker.run(lambda: self._run(frame), frame.deadline_ms)

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

    def _run(self, frame: Frame) -> Answer:
        start = time.perf_counter()
        outputs = self._shard.run(frame.tensors, self._max_batch)
        taken_ms = (time.perf_counter() - start) * 1000
        timings = {**frame.timings, str(frame.stage): round(taken_ms, 3)}
        if self._shard.is_last:
            return self._reply(replace(frame, tensors=outputs, timings=timings))
        return Answer(encode(replace(frame, tensors=outputs, stage=frame.stage + 1, timings=timings)), FRAME_TYPE)

    def _reply(self, frame: Frame) -> Answer:
        task = self._shard.bundle.task
        parameters = dict(frame.parameters)
        with_timings = parameters.pop(TIMINGS_PARAMETER, False)
        reply: dict[str, object] = {"predictions": task_reply(task.name)(frame.tensors, task, parameters)}
        if with_timings:
            reply["timings"] = frame.timings
        return Answer(json.dumps(reply, allow_nan=False).encode(), JSON_TYPE)


def parse() -> Namespace:
    parser = arguments("Serve one shard of a bundle with KServe.")
    parser.add_argument("--model_dir", type=Path, required=True, help="the stage's folder, as downloaded")
    parser.add_argument("--max_batch_size", type=int, default=1, help="the most instances that are run at once")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="auto: the GPU where there is one")
    parsed = parser.parse_args()
    if parsed.max_batch_size < 1 or parsed.max_queue < 0:
        parser.error("--max_batch_size must be at least 1 and --max_queue at least 0")
    return parsed


def main() -> None:
    arguments = parse()
    model = ShardPredictor(
        arguments.model_name,
        arguments.model_dir,
        arguments.bundle_digest,
        max_batch=arguments.max_batch_size,
        max_queue=arguments.max_queue,
        device=arguments.device,
    )
    model.load()
    serve(model, arguments)


if __name__ == "__main__":
    # Idle OpenMP threads that spin take the CPU from the other stages on the same machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    run_main(main)
