"""What serves one part of a bundle inside TorchServe: it goes into the archive and is run there alone.

Shardline need not be installed there: the modules that this one imports lie beside it, in shardline_parts.zip. A part
takes what a shard of Shardline's takes. The first one, and the whole, take a picture's own bytes or v1 JSON; the others
take a frame, which is what the one before answered. The last one, and the whole, answer v1 JSON.

TorchServe gives a batch of requests at once. Each gets its own answer and status, so that one bad picture does not
spoil its neighbours; those that fit are run together where the part can tell instances apart. It computes on the CPU.
"""

# ruff: noqa: E402  # only with the zip on its path does Python find the rest

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

_PARTS = Path(__file__).with_name("shardline_parts.zip")
if _PARTS.is_file():
    sys.path.insert(0, str(_PARTS))

import torch

from shardline.partition.runtime import Golden, LoadedShard
from shardline.predictors.picture import fit_pictures
from shardline.storage.bundle import BUNDLE_FILE, STAGE_FILE, load_object, parse_bundle
from shardline.tasks.registry import task_reply
from shardline.tasks.request import Request
from shardline.wire.errors import ForeignFrameError, FrameError, ShardlineError
from shardline.wire.frame import Frame, decode, encode, is_frame
from shardline.wire.v1 import CHAIN_PARAMETERS, check_instances, parse_request

MODEL_FILE = "model.pt"


class Handler:
    """TorchServe takes the one class of this module: `initialize` once, then `handle` for each batch of requests."""

    def initialize(self, context: Any) -> None:
        """Load the part, and prove it by the golden input: TorchServe's worker fails where it is far off."""
        folder = Path(context.system_properties["model_dir"])
        bundle = parse_bundle((folder / BUNDLE_FILE).read_bytes())
        stage = bundle.stages[load_object((folder / STAGE_FILE).read_bytes(), STAGE_FILE)["stage"]]
        self._shard = LoadedShard(bundle, stage, torch.jit.load(str(folder / MODEL_FILE), map_location="cpu"))
        golden = Golden.load(folder)
        self._shard.warm_up(golden)
        self._joins = self._shard.can_join(golden)

    def handle(self, rows: Sequence[Mapping[str, Any]], context: Any) -> list[bytes | dict[str, Any]]:
        """One answer a row: a frame's bytes, predictions, or an error with its status."""
        asked = [_or_error(self._read, row) for row in rows]
        outputs = iter(self._run([each for each in asked if isinstance(each, Frame)]))
        answers = []
        for index, each in enumerate(asked):
            answer = each if isinstance(each, ShardlineError) else _or_error(self._answer, each, next(outputs))
            if isinstance(answer, ShardlineError):
                context.set_response_status(code=answer.status, phrase=type(answer).__name__, idx=index)
                answer = {"error": str(answer)}
            context.set_response_content_type(
                index, "application/octet-stream" if isinstance(answer, bytes) else "application/json"
            )
            answers.append(answer)
        return answers

    def _read(self, row: Mapping[str, Any]) -> Frame:
        body = _bytes(row)
        frame = decode(body) if is_frame(body) else self._from_pictures(body)
        if (frame.bundle, frame.stage) != (self._shard.digest, self._shard.stage.index):
            raise ForeignFrameError(
                f"the frame is for stage {frame.stage} of bundle {frame.bundle[:80]}, this is stage "
                f"{self._shard.stage.index} of {self._shard.digest}: post what a stage answers to the next one"
            )
        self._shard.check(frame.tensors)
        return frame

    def _from_pictures(self, body: bytes) -> Frame:
        stage, bundle = self._shard.stage, self._shard.bundle
        if stage.index:
            raise FrameError(
                f"stage {stage.index} takes frames, what stage {stage.index - 1} answers: post pictures to 0"
            )
        request = parse_request(body)
        check_instances(len(request.pictures), bundle.max_instances)
        pixels, views = fit_pictures(request.pictures, bundle.picture, bundle.limits)
        return Frame(
            tensors={stage.inputs[0].name: pixels},
            bundle=self._shard.digest,
            stage=0,
            parameters=request.parameters,
            views=views,
        )

    def _run(self, frames: Sequence[Frame]) -> Sequence[Mapping[str, Any]]:
        tensors = [frame.tensors for frame in frames]
        if self._joins and len(tensors) > 1:
            return self._shard.run_joined(tensors)
        return [self._shard.run_joined([each])[0] for each in tensors]

    def _answer(self, frame: Frame, outputs: Mapping[str, Any]) -> bytes | dict[str, Any]:
        if not self._shard.is_last:
            return encode(replace(frame, tensors=outputs, stage=frame.stage + 1))
        task = self._shard.bundle.task
        parameters = {key: value for key, value in frame.parameters.items() if key not in CHAIN_PARAMETERS}
        request = Request(outputs=outputs, labels=task.labels, parameters=parameters, views=frame.views)
        return {"predictions": task_reply(task.name)(request)}


def _or_error(function: Any, *arguments: Any) -> Any:
    """What it gives, or the error that is the request's own."""
    try:
        return function(*arguments)
    except ShardlineError as exc:
        return exc


def _bytes(row: Mapping[str, Any]) -> bytes:
    """A request's body: a form's field is `data`, a raw body is `body`, and JSON is parsed already."""
    body = row.get("data") if row.get("data") is not None else row.get("body")
    if isinstance(body, bytes | bytearray):
        return bytes(body)
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()
